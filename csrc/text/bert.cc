#include "text/bert.h"

#include <ATen/ATen.h>

#include "nn/attention.h"

namespace drm {
namespace {

/// What the reference adds to the scores of padding. Its exponential is zero beside any token's, in every dtype.
constexpr double kMaskedScore = -10000;

BertAttention make_bert_attention(int64_t width, int64_t seen) {
  return {make_linear(width, width), make_linear(seen, width), make_linear(seen, width), make_linear(width, width),
          make_norm(width)};
}

/// x attends to `seen`; post-norm.
Tensor bert_attention(const BertAttention& a, const BertConfig& k, const Tensor& x, const Tensor& seen,
                      const Tensor& bias) {
  const auto heads = k.num_attention_heads;
  const auto found = attend(split_heads(linear(a.query, x), heads), split_heads(linear(a.key, seen), heads),
                            split_heads(linear(a.value, seen), heads), false, bias);
  return layer_norm(a.norm, x + linear(a.out, merge_heads(found)), k.layer_norm_eps);
}

/// A read-back of two numbers: an id outside the table would be undefined behaviour on a GPU.
void check_bert_ids(const Tensor& ids, const BertConfig& k) {
  if (!ids.numel()) return;
  const auto lowest = ids.min().item<int64_t>(), highest = ids.max().item<int64_t>();
  if (lowest < 0 || highest >= k.vocab_size)
    throw Failure(Code::BadRequest, "[bert] token id " + std::to_string(lowest < 0 ? lowest : highest) +
                                        ": expected one of the encoder's " + std::to_string(k.vocab_size) +
                                        "; tokenizer and encoder do not belong together");
}

}  // namespace

BlockSizes read_block_sizes(const ConfigReader& r) {
  r.expect("hidden_act", "gelu");
  const BlockSizes s{r.integer("hidden_size"), r.integer("intermediate_size"), r.integer("num_hidden_layers"),
                     r.integer("num_attention_heads"), r.number("layer_norm_eps")};
  const auto within = [](int64_t n, int64_t largest) { return n >= 1 && n <= largest; };
  if (!within(s.hidden_size, 65536) || !within(s.intermediate_size, 1 << 20) || !within(s.num_hidden_layers, 1000) ||
      !within(s.num_attention_heads, s.hidden_size) || s.hidden_size % s.num_attention_heads ||
      !(s.layer_norm_eps > 0 && s.layer_norm_eps < 1))
    throw Failure(Code::BadConfig, "[config] " + r.file() +
                                       ": expected positive sizes with hidden_size a multiple of num_attention_heads, "
                                       "and a layer_norm_eps between 0 and 1; compare with the model's original "
                                       "config.json");
  return s;
}

BertConfig read_bert_config(const ConfigReader& text) {
  BertConfig c{read_block_sizes(text)};
  c.vocab_size = text.integer("vocab_size");
  c.max_position_embeddings = text.integer("max_position_embeddings");
  c.encoder_hidden_size = text.integer("encoder_hidden_size");
  if (c.vocab_size < 1 || c.vocab_size > (1 << 24) || c.max_position_embeddings < 1 ||
      c.max_position_embeddings > 65536 || c.encoder_hidden_size < 1 || c.encoder_hidden_size > 65536)
    throw Failure(Code::BadConfig, "[config] " + text.file() +
                                       ": expected a positive vocab_size, max_position_embeddings and "
                                       "encoder_hidden_size; compare with the model's original config.json");
  return c;
}

Bert make_bert(const BertConfig& config) {
  const auto d = config.hidden_size;
  Bert b;
  b.config = config;
  b.tokens = make_table(config.vocab_size, d);
  b.positions = make_table(config.max_position_embeddings, d);
  b.norm = make_norm(d);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    b.layers.push_back({make_bert_attention(d, d), make_bert_attention(d, config.encoder_hidden_size),
                        make_linear(d, config.intermediate_size), make_linear(config.intermediate_size, d),
                        make_norm(d)});
  return b;
}

Tensor bert_forward(const Bert& b, const Tensor& ids, const Tensor& mask, const Tensor& image_tokens,
                    const Observer* observer) {
  const auto& k = b.config;
  const auto length = ids.size(1);
  if (length > k.max_position_embeddings)
    throw Failure(Code::BadRequest, "[bert] " + std::to_string(length) + " tokens: expected at most " +
                                        std::to_string(k.max_position_embeddings));
  check_bert_ids(ids, k);
  auto x = layer_norm(b.norm, look_up(b.tokens, ids) + b.positions.weight.narrow(0, 0, length), k.layer_norm_eps);
  const auto hidden = ((1 - mask.to(at::kFloat)) * kMaskedScore).to(x.scalar_type()).unsqueeze(1).unsqueeze(1);
  const auto bias = hidden.expand({ids.size(0), 1, length, length});
  for (size_t i = 0; i < b.layers.size(); ++i) {
    if (observer) (*observer)("hidden_states." + std::to_string(i), x);
    const auto& l = b.layers[i];
    x = bert_attention(l.self, k, x, x, bias);
    x = bert_attention(l.cross, k, x, image_tokens, {});
    x = layer_norm(l.norm, x + linear(l.down, at::gelu(linear(l.up, x))), k.layer_norm_eps);
  }
  if (observer) (*observer)("hidden_states." + std::to_string(b.layers.size()), x);
  return x;
}

}  // namespace drm
