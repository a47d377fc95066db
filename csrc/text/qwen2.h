// Qwen2's decoder (Yang et al. 2024; reference: transformers' Qwen2 layers) as the text half of Qwen2-VL: RMS norms,
// grouped-query attention with rotary positions, SwiGLU. Positions are plain: 0, 1, 2, ..., also of image tokens.
// Shapes: B batch, L tokens, D width, H heads, G heads of keys and values, K channels of a head.
#pragma once
#include <string>
#include <vector>

#include "nn/layers.h"
#include "tensor_io/config_reader.h"

namespace drm {

struct Qwen2Config {
  int64_t vocab_size = 151936, hidden_size = 3584, intermediate_size = 18944;
  int64_t num_hidden_layers = 28, num_attention_heads = 28, num_key_value_heads = 4;
  int64_t max_position_embeddings = 32768;
  double rms_norm_eps = 1e-6, rope_theta = 1e6;
};

/// Reads the text half of a transformers config: `r` is the section that has hidden_size. Throws Failure(BadConfig).
Qwen2Config read_qwen2_config(const ConfigReader& r);

struct Qwen2Layer {
  Norm attention_norm, mlp_norm;  // RMS, no bias
  Linear q, k, v, o;              // (H K, D), (G K, D), (G K, D) with biases, (D, H K) without
  Linear gate, up, down;          // no biases
};

struct Qwen2 {
  Qwen2Config config;
  Table tokens;
  std::vector<Qwen2Layer> layers;
  Norm final_norm;
};

Qwen2 make_qwen2(const Qwen2Config& config);

/// embeds (B, L, D), fp32 -> (B, L, D), fp32, before the final norm, which is the caller's to apply to the rows that it
/// reads. Each token sees itself and those before it: rows that end earlier may be followed by anything. Sums over
/// layers are fp32, also where the layers compute in 16 bits. Observer names: "layer<i>".
Tensor qwen2_layers(const Qwen2& m, const Tensor& embeds, const Observer* observer = nullptr);

template <class V>
void each(Qwen2& m, const std::string& prefix, V&& visit) {
  visit(prefix + "embed_tokens", m.tokens);
  for (size_t i = 0; i < m.layers.size(); ++i) {
    const auto n = prefix + "layers." + std::to_string(i) + ".";
    auto& l = m.layers[i];
    visit(n + "input_layernorm", l.attention_norm);
    visit(n + "self_attn.q_proj", l.q);
    visit(n + "self_attn.k_proj", l.k);
    visit(n + "self_attn.v_proj", l.v);
    visit(n + "self_attn.o_proj", l.o);
    visit(n + "post_attention_layernorm", l.mlp_norm);
    visit(n + "mlp.gate_proj", l.gate);
    visit(n + "mlp.up_proj", l.up);
    visit(n + "mlp.down_proj", l.down);
  }
  visit(prefix + "norm", m.final_norm);
}

}  // namespace drm
