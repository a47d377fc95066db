#include "text/t5.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "nn/attention.h"
#include "tensor_io/config_reader.h"

namespace drm {
T5Config read_t5_config(const std::string& path) {
  std::shared_ptr<Json> json;
  const auto r = ConfigReader::read(path, json);
  r.expect("model_type", "t5");
  r.expect("feed_forward_proj", "gated-gelu");
  T5Config c;
  c.vocab_size = r.integer("vocab_size", 32128);
  c.d_model = r.integer("d_model");
  c.d_kv = r.integer("d_kv");
  c.d_ff = r.integer("d_ff");
  c.num_layers = r.integer("num_layers");
  c.num_heads = r.integer("num_heads");
  c.relative_attention_num_buckets = r.integer("relative_attention_num_buckets", 32);
  c.relative_attention_max_distance = r.integer("relative_attention_max_distance", 128);
  c.layer_norm_epsilon = r.number("layer_norm_epsilon", 1e-6);
  for (const auto value :
       {c.vocab_size, c.d_model, c.d_kv, c.d_ff, c.num_layers, c.num_heads, c.relative_attention_max_distance})
    if (value < 1 || value > (1 << 24))
      throw Failure(Code::BadConfig, "[config] " + path + ": expected positive sizes, found " + std::to_string(value));
  if (c.relative_attention_num_buckets < 4 || c.relative_attention_num_buckets > (1 << 16) ||
      c.relative_attention_max_distance <= c.relative_attention_num_buckets / 4)
    throw Failure(
        Code::BadConfig,
        "[config] " + path + ": relative_attention_num_buckets and relative_attention_max_distance do not go together");
  return c;
}

T5Config infer_t5_config(const Weights& weights) {
  const auto shape = [&](const std::string& key) -> const std::vector<int64_t>& {
    const auto it = weights.entries().find(key);
    if (it == weights.entries().end() || it->second.info.shape.size() != 2)
      throw Failure(Code::BadFile,
                    "[load] " + weights.description() + ": expected a T5 v1.1 encoder, found no matrix " + key);
    return it->second.info.shape;
  };
  T5Config c;
  c.vocab_size = shape("shared.weight")[0];
  c.d_model = shape("shared.weight")[1];
  const auto& bias = shape("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
  c.relative_attention_num_buckets = bias[0];
  c.num_heads = bias[1];
  c.d_kv = shape("encoder.block.0.layer.0.SelfAttention.q.weight")[0] / std::max<int64_t>(1, c.num_heads);
  c.d_ff = shape("encoder.block.0.layer.1.DenseReluDense.wi_0.weight")[0];
  for (c.num_layers = 0; weights.has("encoder.block." + std::to_string(c.num_layers) + ".layer.0.layer_norm.weight");)
    ++c.num_layers;
  return c;
}

T5 make_t5(const T5Config& c) {
  const auto inner = c.num_heads * c.d_kv;
  T5 t;
  t.config = c;
  t.tokens = make_table(c.vocab_size, c.d_model);
  t.bias = make_table(c.relative_attention_num_buckets, c.num_heads);
  for (int64_t i = 0; i < c.num_layers; ++i)
    t.layers.push_back({make_norm(c.d_model, false), make_norm(c.d_model, false), make_linear(c.d_model, inner, false),
                        make_linear(c.d_model, inner, false), make_linear(c.d_model, inner, false),
                        make_linear(inner, c.d_model, false), make_linear(c.d_model, c.d_ff, false),
                        make_linear(c.d_model, c.d_ff, false), make_linear(c.d_ff, c.d_model, false)});
  t.final_norm = make_norm(c.d_model, false);
  return t;
}

std::vector<WantedTensor> wanted_t5(T5& t, at::ScalarType dtype) {
  auto all = wanted(t);
  if (dtype == at::kHalf)
    for (auto& w : all)
      if (w.key.ends_with(".DenseReluDense.wo.weight")) w.dtype = at::kFloat;
  return all;
}

void load_t5(T5& t, const Weights& weights, at::ScalarType dtype, at::Device device,
             const std::function<void(uint64_t, uint64_t)>& progress) {
  // Tied to shared.weight, and stored a second time by some writers; decoders come with full T5 checkpoints.
  const auto ignorable = [](const std::string& key) {
    return key == "encoder.embed_tokens.weight" || key.rfind("decoder.", 0) == 0 || key == "lm_head.weight";
  };
  weights.fill(wanted_t5(t, dtype), dtype, device, ignorable, "", progress);
}

Tensor t5_buckets(const Tensor& relative_position, int64_t buckets, int64_t max_distance) {
  const auto half = buckets / 2, exact = half / 2;
  const auto side = relative_position.gt(0).to(at::kLong) * half;
  const auto distance = relative_position.abs();
  const auto far = exact + (at::log(distance.to(at::kFloat) / exact) /
                            std::log(static_cast<double>(max_distance) / exact) * (half - exact))
                               .to(at::kLong);
  // Distance 0 gives log(0) above; it is below `exact`, so that branch is never taken for it.
  return side + at::where(distance.lt(exact), distance, far.clamp_max(half - 1));
}

Tensor t5_position_bias(const T5& t, int64_t length) {
  const auto position = at::arange(length, at::TensorOptions().dtype(at::kLong).device(t.bias.weight.device()));
  const auto buckets = t5_buckets(position.unsqueeze(0) - position.unsqueeze(1),
                                  t.config.relative_attention_num_buckets, t.config.relative_attention_max_distance);
  return look_up(t.bias, buckets).permute({2, 0, 1}).unsqueeze(0).contiguous();
}

Tensor t5_forward(const T5& t, const Tensor& ids, const Tensor& mask, const Observer* observer) {
  const auto& c = t.config;
  // A read-back of two numbers, once a prompt: an id outside the table would be undefined behaviour on a GPU.
  if (ids.numel() && (ids.min().item<int64_t>() < 0 || ids.max().item<int64_t>() >= c.vocab_size))
    throw Failure(Code::BadRequest, "[t5] token id " + std::to_string(ids.max().item<int64_t>()) +
                                        ": the encoder's vocabulary has " + std::to_string(c.vocab_size) +
                                        " entries; tokenizer and encoder do not belong together");
  auto x = look_up(t.tokens, ids);
  if (x.scalar_type() == at::kHalf) x = x.to(at::kFloat);  // the sums over blocks, too, pass fp16's range
  auto bias = t5_position_bias(t, ids.size(1));
  if (mask.defined()) {
    const auto hidden = mask.eq(0).unsqueeze(1).unsqueeze(1);  // (B, 1, 1, L)
    bias = bias.masked_fill(hidden, -std::numeric_limits<float>::infinity());
  }
  const auto tap = [&](const std::string& name, const Tensor& value) {
    if (observer) (*observer)(name, value);
  };
  for (size_t i = 0; i < t.layers.size(); ++i) {
    const auto& l = t.layers[i];
    const auto block = "block" + std::to_string(i);
    const auto h = rms_norm(l.attention_norm, x, c.layer_norm_epsilon);
    const auto a = linear(
        l.o, merge_heads(attend(split_heads(linear(l.q, h), c.num_heads), split_heads(linear(l.k, h), c.num_heads),
                                split_heads(linear(l.v, h), c.num_heads), false, bias, 1.0)));
    tap(block + ".attn", a);
    x = x + a;
    const auto g = rms_norm(l.ff_norm, x, c.layer_norm_epsilon);
    const auto gate = at::gelu(linear(l.gate, g), "tanh");
    const auto f = linear(l.down, gate.to(l.down.weight.scalar_type()) * linear(l.up, g));
    tap(block + ".ff", f);
    x = x + f;
    tap(block, x);
  }
  return rms_norm(t.final_norm, x, c.layer_norm_epsilon);
}

}  // namespace drm
