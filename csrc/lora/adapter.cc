#include "lora/adapter.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace drm {

bool is_target(const std::string& layer, const std::string& target) {
  if (layer.size() == target.size()) return layer == target;
  return layer.size() > target.size() && layer.ends_with(target) && layer[layer.size() - target.size() - 1] == '.';
}

void add_lora(const std::vector<AdaptedLayer>& layers, const LoraConfig& config, at::Generator generator) {
  if (layers.empty())
    throw Failure(Code::BadRequest,
                  "[lora] the targets name no linear layer of this model; a target is the end of a layer's name, such "
                  "as attn.to_q");
  if (config.rank < 1)
    throw Failure(Code::BadRequest, "[lora] rank: expected at least 1, found " + std::to_string(config.rank));
  for (const auto& [name, layer] : layers) {
    if (!layer->lora.empty())
      throw Failure(
          Code::BadRequest,
          "[lora] " + name + ": expected a layer without adapter, it has one already; merge or remove it first");
    const auto out = layer->weight.size(0), in = layer->weight.size(1);
    // Drawn on the CPU whatever the device, so that a seed means the same adapter everywhere.
    const auto options = at::TensorOptions().dtype(at::kFloat);
    Lora lora;
    lora.a = (at::randn({config.rank, in}, generator, options) / static_cast<double>(config.rank))
                 .to(layer->weight.device());
    lora.b = at::zeros({out, config.rank}, options.device(layer->weight.device()));
    lora.scale = config.alpha / static_cast<double>(config.rank);
    layer->lora.push_back(std::move(lora));
  }
}

Tensor lora_delta(const Lora& adapter) { return adapter.scale * at::matmul(adapter.b, adapter.a); }

void merge_lora(const std::vector<AdaptedLayer>& layers) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, layer] : layers) {
    if (layer->lora.empty()) continue;
    auto merged = layer->weight.to(at::kFloat);
    for (const auto& adapter : layer->lora) merged = merged + lora_delta(adapter);
    layer->weight = merged.to(layer->weight.scalar_type());
    layer->lora.clear();
  }
}

void enable_lora(const std::vector<AdaptedLayer>& layers, bool enabled) {
  for (const auto& [name, layer] : layers)
    for (auto& adapter : layer->lora) adapter.enabled = enabled;
}

std::vector<std::pair<std::string, Tensor>> lora_tensors(const std::vector<AdaptedLayer>& layers) {
  std::vector<std::pair<std::string, Tensor>> all;
  for (const auto& [name, layer] : layers) {
    if (layer->lora.empty()) continue;
    if (layer->lora.size() > 1)
      throw Failure(Code::Internal, "[lora] " + name + " has several adapters under one name");
    all.emplace_back(name + ".lora_A.weight", layer->lora.front().a);
    all.emplace_back(name + ".lora_B.weight", layer->lora.front().b);
  }
  return all;
}

}  // namespace drm
