// Low-rank adapters (Hu et al. 2022): y = W x + b + scale * B (A x), scale = alpha / rank, times a strength where a
// user asks for one. A layer may have several, whose contributions add up. linear() and linear_at_once() apply them;
// everything else sees linear layers.
#pragma once
#include <string>
#include <vector>

#include "lora/lora_config.h"
#include "nn/layers.h"

namespace drm {

/// Whether `layer` ends in `target`, at a dot or entirely.
bool is_target(const std::string& layer, const std::string& target);

struct AdaptedLayer {
  std::string name;
  Linear* layer;
};

/// The linear layers of a model that the targets name, in the visitor's order.
template <class Model>
std::vector<AdaptedLayer> find_targets(Model& m, const std::vector<std::string>& targets) {
  std::vector<AdaptedLayer> found;
  each(m, [&](const std::string& name, auto& leaf) {
    if constexpr (std::is_same_v<std::decay_t<decltype(leaf)>, Linear>)
      for (const auto& t : targets)
        if (is_target(name, t)) {
          found.push_back({name, &leaf});
          break;
        }
  });
  return found;
}

/// Puts a new adapter on each layer: A gaussian with standard deviation 1 / rank (PEFT's "gaussian"), B zero, fp32 on
/// the layer's device. Throws Failure(BadRequest) when nothing is targeted or a layer has one already.
void add_lora(const std::vector<AdaptedLayer>& layers, const LoraConfig& config, at::Generator generator);
/// What an adapter adds to its layer's weight: scale * B A (out, in), fp32.
Tensor lora_delta(const Lora& adapter);
/// Folds the adapters into the weights, W += scale * B A, and removes them. All are added in fp32 and rounded once, to
/// the weight's own dtype.
void merge_lora(const std::vector<AdaptedLayer>& layers);
/// Adapters count or not, without being removed: "off" is the reference policy.
void enable_lora(const std::vector<AdaptedLayer>& layers, bool enabled);
/// Adapters count for nothing while one of these lives: the reference policy.
class AdaptersOff {
 public:
  explicit AdaptersOff(const std::vector<AdaptedLayer>& layers, bool off = true) : layers_(layers), off_(off) {
    if (off_) enable_lora(layers_, false);
  }
  ~AdaptersOff() {
    if (off_) enable_lora(layers_, true);
  }
  AdaptersOff(const AdaptersOff&) = delete;
  AdaptersOff& operator=(const AdaptersOff&) = delete;

 private:
  const std::vector<AdaptedLayer>& layers_;
  bool off_;
};

/// "<layer>.lora_A.weight" (rank, in) and "<layer>.lora_B.weight" (out, rank), in the visitor's order. For layers with
/// one adapter at most: names would be ambiguous, Failure(Internal).
std::vector<std::pair<std::string, Tensor>> lora_tensors(const std::vector<AdaptedLayer>& layers);

}  // namespace drm
