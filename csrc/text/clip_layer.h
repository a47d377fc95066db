// The transformer block that both towers of CLIP are made of (Radford et al. 2021): pre-norm attention, pre-norm MLP.
// Shapes: B batch, L tokens, D width.
#pragma once
#include <string>
#include <vector>

#include "nn/layers.h"
#include "tensor_io/config_reader.h"

namespace drm {

/// What the two towers' configs have in common.
struct ClipTowerConfig {
  int64_t hidden_size = 768, intermediate_size = 3072, num_hidden_layers = 12, num_attention_heads = 12;
  int64_t projection_dim = 768;
  double layer_norm_eps = 1e-5;
  bool quick_gelu = true;  // x * sigmoid(1.702 x), else exact (erf) GELU
};

/// A tower's part of a transformers config.json: the section of that name ("text_config"), or the whole file where it
/// is the tower's own. Throws Failure(BadConfig).
ConfigReader clip_tower_section(const Json& json, const std::string& path, const char* section);
/// Throws Failure(BadConfig).
ClipTowerConfig read_clip_tower(const ConfigReader& r);

struct ClipLayer {
  Norm norm1, norm2;
  Linear q, k, v, out, fc1, fc2;
};

std::vector<ClipLayer> make_clip_layers(const ClipTowerConfig& config);
/// x (B, L, D).
Tensor clip_layer(const ClipLayer& l, const ClipTowerConfig& config, const Tensor& x, bool causal);

template <class V>
void each(std::vector<ClipLayer>& layers, const std::string& tower, V&& visit) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto n = tower + "encoder.layers." + std::to_string(i) + ".";
    auto& l = layers[i];
    visit(n + "layer_norm1", l.norm1);
    visit(n + "self_attn.q_proj", l.q);
    visit(n + "self_attn.k_proj", l.k);
    visit(n + "self_attn.v_proj", l.v);
    visit(n + "self_attn.out_proj", l.out);
    visit(n + "layer_norm2", l.norm2);
    visit(n + "mlp.fc1", l.fc1);
    visit(n + "mlp.fc2", l.fc2);
  }
}

}  // namespace drm
