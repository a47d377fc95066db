#include "train/scorer_objective.h"

#include <ATen/ATen.h>

#include "nn/initialize.h"
#include "random/draws.h"
#include "reward/bradley_terry.h"
#include "scorers/aesthetic_scorer.h"
#include "tensor_io/safetensors.h"
#include "text/text_keys.h"
#include "train/trainable.h"

namespace drm {
namespace {

class ScorerObjective final : public Objective {
 public:
  ScorerObjective(const ScorerSpec& spec, uint64_t seed, at::Device device)
      : model_(make_aesthetic(spec.config)), spec_(spec), device_(device) {
    if (spec.weights.empty()) {
      auto generator = seeded_generator(seed);
      initialize_clip_vision(model_.vision, generator);
      each_affine_head(model_.head, "", [&](const std::string&, Linear& l) { initialize_leaf(l, generator); });
    } else {
      load_aesthetic(model_, Weights::open(spec.weights, clip_keys()), at::kFloat, device);
    }
    // The last bias shifts all scores alike: its gradient is rounding noise, which Adam would turn into drift.
    for (auto& [name, p] : trainable(model_, device)) {
      all_.emplace_back(name, p);
      if (name == "layers.7.bias")
        p.requires_grad_(false);
      else
        parameters_.emplace_back(name, p);
    }
  }

  NamedTensors parameters() override { return parameters_; }

  Loss loss(const TrainBatch& batch, const StepKey& key) override {
    require_pairs(batch, "scorer");
    auto pixels = clip_pixels(batch_pixels(batch).to(device_));
    if (spec_.mirror && !key.evaluation) pixels = mirrored(pixels, batch, key);
    auto x = clip_image_features(model_.vision, pixels);
    for (const auto& layer : model_.head.layers) x = linear(layer, x);
    const auto sides = x.to(at::kFloat).view({2, -1});
    const auto chosen = sides[0], rejected = sides[1];
    return {
        preference_loss(chosen, rejected).mean(),
        {{"accuracy", preferred(chosen, rejected).detach().mean()}, {"margin", (chosen - rejected).mean().detach()}}};
  }

  void export_weights(const std::string& path, at::ScalarType dtype) override {
    NamedTensors all;
    for (const auto& [name, p] : all_) all.emplace_back(name, p.detach().to(dtype));
    save_safetensors(path, all, {{"format", "pt"}});
  }

 private:
  /// Half of the pairs are seen in a mirror, both images alike.
  Tensor mirrored(const Tensor& pixels, const TrainBatch& batch, const StepKey& key) const {
    const Draw draw{key.seed, Purpose::Augment, static_cast<uint32_t>(key.step), 0, 0};
    const auto turned = draw_uniform(draw, batch.samples, device_).lt(0.5);
    return at::where(at::cat({turned, turned}).view({-1, 1, 1, 1}), pixels.flip({3}), pixels);
  }

  AestheticModel model_;
  ScorerSpec spec_;
  at::Device device_;
  NamedTensors parameters_, all_;
};

}  // namespace

std::unique_ptr<Objective> scorer_objective(const ScorerSpec& spec, uint64_t seed, at::Device device) {
  return std::make_unique<ScorerObjective>(spec, seed, device);
}

}  // namespace drm
