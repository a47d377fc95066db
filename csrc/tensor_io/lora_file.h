// Adapter files: diffusers' pytorch_lora_weights.safetensors and PEFT's adapter_model.safetensors with
// adapter_config.json.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "nn/lora.h"

namespace drm {

struct LoraFile {
  struct Entry {
    at::Tensor a, b;  // (rank, in), (out, rank), fp32
    double alpha = 0;
  };
  std::map<std::string, Entry> layers;  // by the transformer's layer name, e.g. transformer_blocks.0.attn.to_q
  std::string spelling;                 // "diffusers" or "peft"
  bool alpha_stated = false;            // false: alpha = rank is assumed, as diffusers does; worth a warning
  std::string path;
};

/// `path`: the .safetensors file (PEFT's config is looked for beside it) or the folder that holds it.
/// Throws Failure(BadFile) when it is no adapter, or an A has no B.
LoraFile read_lora(const std::string& path);

/// Puts the file's adapters on a model's linear layers, times `strength`. Every adapter must find its layer, with
/// matching sizes, else Failure(KeysMismatch) lists those that do not and nothing is changed. Returns the adapted
/// layers.
template <class Model>
std::vector<AdaptedLayer> apply_lora(Model& m, const LoraFile& file, double strength = 1);

/// Writes diffusers' form with the alpha in its `lora_adapter_metadata`, so that Python applies the same strength.
/// Throws Failure(Disk).
void save_lora(const std::string& path, const std::vector<AdaptedLayer>& layers, const LoraConfig& config);

std::vector<AdaptedLayer> attach(const std::vector<AdaptedLayer>& all_linear_layers, const LoraFile& file,
                                 double strength);
template <class Model>
std::vector<AdaptedLayer> apply_lora(Model& m, const LoraFile& file, double strength) {
  std::vector<AdaptedLayer> all;
  each(m, [&](const std::string& name, auto& leaf) {
    if constexpr (std::is_same_v<std::decay_t<decltype(leaf)>, Linear>) all.push_back({name, &leaf});
  });
  return attach(all, file, strength);
}

}  // namespace drm
