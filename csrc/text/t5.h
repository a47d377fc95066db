// T5 v1.1 encoder (Raffel et al. 2020; reference: transformers' T5EncoderModel with gated GELU).
// Shapes: B batch, L tokens, D width, H heads.
#pragma once
#include <string>
#include <vector>

#include "nn/layers.h"

namespace drm {

struct T5Config {
  int64_t vocab_size = 32128, d_model = 4096, d_kv = 64, d_ff = 10240, num_layers = 24, num_heads = 64;
  int64_t relative_attention_num_buckets = 32, relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;
};

/// Reads a transformers config.json. Throws Failure(BadConfig | BadFile).
T5Config read_t5_config(const std::string& path);
/// Sizes from the shapes (bucket distance and epsilon as in all v1.1 models). Throws Failure(BadFile).
T5Config infer_t5_config(const Weights& weights);

struct T5Layer {
  Norm attention_norm, ff_norm;  // RMS, no bias
  Linear q, k, v, o;             // no biases, no 1 / sqrt(d) scale
  Linear gate, up, down;         // wi_0 (tanh GELU), wi_1, wo
};

struct T5 {
  T5Config config;
  Table tokens;
  Table bias;  // (buckets, H), in the first block, shared by all
  std::vector<T5Layer> layers;
  Norm final_norm;
};

T5 make_t5(const T5Config& config);
/// What load_t5() loads. Of an fp16 encoder the feed-forwards' output layers (wo) stay fp32, as transformers keeps
/// them: their results pass fp16's 65504.
std::vector<WantedTensor> wanted_t5(T5& t, at::ScalarType dtype);
void load_t5(T5& t, const Weights& weights, at::ScalarType dtype, at::Device device,
             const std::function<void(uint64_t, uint64_t)>& progress = {});

/// Bucket of each relative position (key - query), bidirectional: int64 in and out, any shape. fp32 logarithm.
Tensor t5_buckets(const Tensor& relative_position, int64_t buckets, int64_t max_distance);
/// The bias of all layers, (1, H, L, L).
Tensor t5_position_bias(const T5& t, int64_t length);

/// ids (B, L) int64 -> (B, L, D). SD3 passes no mask, so padding is attended to; `mask` (B, L), 1 = attend, is there
/// for other users. Throws Failure(BadRequest) for ids outside the vocabulary. Observer names: "block0.attn",
/// "block0.ff", "block<i>".
Tensor t5_forward(const T5& t, const Tensor& ids, const Tensor& mask = {}, const Observer* observer = nullptr);

template <class V>
void each(T5& t, V&& visit) {
  visit("shared", t.tokens);
  for (size_t i = 0; i < t.layers.size(); ++i) {
    const auto n = "encoder.block." + std::to_string(i) + ".layer.";
    auto& l = t.layers[i];
    visit(n + "0.SelfAttention.q", l.q);
    visit(n + "0.SelfAttention.k", l.k);
    visit(n + "0.SelfAttention.v", l.v);
    visit(n + "0.SelfAttention.o", l.o);
    if (i == 0) visit(n + "0.SelfAttention.relative_attention_bias", t.bias);
    visit(n + "0.layer_norm", l.attention_norm);
    visit(n + "1.DenseReluDense.wi_0", l.gate);
    visit(n + "1.DenseReluDense.wi_1", l.up);
    visit(n + "1.DenseReluDense.wo", l.down);
    visit(n + "1.layer_norm", l.ff_norm);
  }
  visit("encoder.final_layer_norm", t.final_norm);
}

}  // namespace drm
