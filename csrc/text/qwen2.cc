#include "text/qwen2.h"

#include <ATen/ATen.h>

#include "nn/attention.h"
#include "nn/rotary.h"

namespace drm {

Qwen2Config read_qwen2_config(const ConfigReader& r) {
  r.expect("hidden_act", "silu");
  r.expect_flag("use_sliding_window", false);
  Qwen2Config c;
  c.vocab_size = r.integer("vocab_size");
  c.hidden_size = r.integer("hidden_size");
  c.intermediate_size = r.integer("intermediate_size");
  c.num_hidden_layers = r.integer("num_hidden_layers");
  c.num_attention_heads = r.integer("num_attention_heads");
  c.num_key_value_heads = r.integer("num_key_value_heads", c.num_attention_heads);
  c.max_position_embeddings = r.integer("max_position_embeddings", 32768);
  c.rms_norm_eps = r.number("rms_norm_eps", 1e-6);
  c.rope_theta = r.number("rope_theta", 1e6);
  for (const auto size : {c.vocab_size, c.hidden_size, c.intermediate_size, c.max_position_embeddings})
    if (size < 1 || size > (1 << 24))
      throw Failure(Code::BadConfig, "[config] " + r.file() + ": expected positive sizes, found " +
                                         std::to_string(size) + "; compare with the model's original config.json");
  const auto heads = c.num_attention_heads, shared = c.num_key_value_heads;
  if (c.num_hidden_layers < 1 || c.num_hidden_layers > 1000 || heads < 1 || shared < 1 || heads % shared ||
      c.hidden_size % (2 * heads) || !(c.rope_theta > 0) || !(c.rms_norm_eps > 0))
    throw Failure(Code::BadConfig, "[config] " + r.file() +
                                       ": expected layers, heads of an even width that divide hidden_size, "
                                       "num_key_value_heads that divide them, and positive rope_theta and "
                                       "rms_norm_eps; compare with the model's original config.json");
  return c;
}

Qwen2 make_qwen2(const Qwen2Config& c) {
  const auto d = c.hidden_size, shared = d / c.num_attention_heads * c.num_key_value_heads;
  Qwen2 m;
  m.config = c;
  m.tokens = make_table(c.vocab_size, d);
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    m.layers.push_back({make_norm(d, false), make_norm(d, false), make_linear(d, d), make_linear(d, shared),
                        make_linear(d, shared), make_linear(d, d, false), make_linear(d, c.intermediate_size, false),
                        make_linear(d, c.intermediate_size, false), make_linear(c.intermediate_size, d, false)});
  m.final_norm = make_norm(d, false);
  return m;
}

namespace {

Tensor qwen2_layer(const Qwen2Layer& l, const Qwen2Config& c, const Tensor& x, const Rotary& rotary) {
  const auto heads = c.num_attention_heads, shared = c.num_key_value_heads;
  const auto n = rms_norm(l.attention_norm, x, c.rms_norm_eps);
  const auto q = rotate(split_heads(linear(l.q, n), heads), rotary);
  const auto k = rotate(split_heads(linear(l.k, n), shared), rotary);
  const auto v = split_heads(linear(l.v, n), shared);
  const auto attended = attend(q, repeat_heads(k, heads / shared), repeat_heads(v, heads / shared), /*causal=*/true);
  const auto y = x + linear(l.o, merge_heads(attended));
  const auto m = rms_norm(l.mlp_norm, y, c.rms_norm_eps);
  return y + linear(l.down, at::silu(linear(l.gate, m)) * linear(l.up, m));
}

}  // namespace

Tensor qwen2_layers(const Qwen2& m, const Tensor& embeds, const Observer* observer) {
  const auto& c = m.config;
  const auto position = at::arange(embeds.size(1), at::TensorOptions().dtype(at::kDouble));
  const auto frequencies = rotary_frequencies(c.hidden_size / c.num_attention_heads, c.rope_theta);
  const auto rotary = rotary_of(at::outer(position, frequencies), embeds.device());
  auto x = embeds;
  for (size_t i = 0; i < m.layers.size(); ++i) {
    x = qwen2_layer(m.layers[i], c, x, rotary);
    if (observer) (*observer)("layer" + std::to_string(i), x);
  }
  return x;
}

}  // namespace drm
