#include "train/clip_objective.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "nn/initialize.h"
#include "random/draws.h"
#include "scorers/clip_model.h"
#include "tensor_io/safetensors.h"
#include "text/text_keys.h"
#include "train/trainable.h"

namespace drm {
namespace {

class ClipObjective final : public Objective {
 public:
  ClipObjective(const ClipSpec& spec, uint64_t seed, at::Device device)
      : model_(make_clip_model(read_clip_model_config(spec.config))), spec_(spec), device_(device) {
    if (spec.weights.empty())
      initialize_clip(model_, seeded_generator(seed));
    else
      load_clip_model(model_, Weights::open(spec.weights, clip_keys()), at::kFloat, device);
    parameters_ = trainable(model_, device);
  }

  NamedTensors parameters() override { return parameters_; }

  Loss loss(const TrainBatch& batch, const StepKey& key) override {
    auto pixels = clip_pixels(batch_pixels(batch).to(device_));
    if ((spec_.augment > 0 || spec_.rotate > 0) && !key.evaluation) pixels = augmented(pixels, batch, key);
    const auto kept = key.evaluation ? std::nullopt : kept_patches(batch, key);
    const auto l = clip_loss(model_, pixels, batch_ids(batch).to(device_), kept);
    return {l.loss,
            {{"image_to_text", l.image_to_text},
             {"text_to_image", l.text_to_image},
             {"logit_scale", model_.logit_scale.value.detach()}}};
  }

  void after_step() override { clamp_logit_scale(model_); }

  void export_weights(const std::string& path, at::ScalarType dtype) override {
    NamedTensors all;
    for (const auto& [name, p] : parameters_) all.emplace_back(name, p.detach().to(dtype));
    save_safetensors(path, all, {{"format", "pt"}});
  }

 private:
  /// Moved, scaled, rotated and recoloured, so that a thing is known by its shape in whatever style: eight draws a
  /// sample. Border pixels fill the edges.
  Tensor augmented(const Tensor& pixels, const TrainBatch& batch, const StepKey& key) const {
    const Draw draw{key.seed, Purpose::Augment, static_cast<uint32_t>(key.step), 0, 0};
    const auto up_to = [&](double most, uint32_t which) {  // (B), uniform in +-most
      auto d = draw;
      d.candidate = which;
      return most * (2 * draw_uniform(d, batch.samples, device_) - 1);
    };
    const auto by = [&](uint32_t which) { return up_to(spec_.augment, which); };
    const auto across = 1 + by(0), down = 1 + by(1);
    const auto angle = up_to(spec_.rotate * std::numbers::pi / 180, 7);
    const auto cosine = angle.cos(), sine = angle.sin();
    // An image spans 2 in the grid's coordinates.
    const auto theta = at::stack(
        {at::stack({across * cosine, -down * sine, by(2)}, 1), at::stack({across * sine, down * cosine, by(3)}, 1)}, 1);
    const auto grid = at::affine_grid_generator(theta, pixels.sizes(), /*align_corners=*/false);
    const auto moved = at::grid_sampler(pixels, grid, /*bilinear*/ 0, /*border*/ 1, /*align_corners=*/false);
    const auto each = [](const Tensor& t) { return t.view({-1, 1, 1, 1}); };
    // Colours turn about the grey axis, by at most half a turn, and fade or deepen; light changes.
    const auto grey = moved.mean(1, true);
    const auto turn = std::numbers::pi * by(4), depth = 1 + 2 * by(5);
    const auto chroma = moved - grey;
    const auto side = (at::roll(chroma, 1, 1) - at::roll(chroma, -1, 1)) / std::sqrt(3.0);
    const auto turned = each(depth * at::cos(turn)) * chroma + each(depth * at::sin(turn)) * side;
    return grey + turned + each(by(6));
  }

  /// (B, M) patches that are not dropped, at least one an image.
  std::optional<Tensor> kept_patches(const TrainBatch& batch, const StepKey& key) const {
    const auto patches = model_.vision.config.patches();
    const auto kept = std::max<int64_t>(1, std::llround(static_cast<double>(patches) * (1 - spec_.patch_dropout)));
    if (kept == patches) return {};
    const Draw draw{key.seed, Purpose::Patches, static_cast<uint32_t>(key.step), 0, 0};
    return draw_uniform(draw, batch.samples, device_, {patches}).argsort(/*dim*/ int64_t{1}).slice(1, 0, kept);
  }

  ClipModel model_;
  ClipSpec spec_;
  at::Device device_;
  NamedTensors parameters_;
};

}  // namespace

std::unique_ptr<Objective> clip_objective(const ClipSpec& spec, uint64_t seed, at::Device device) {
  return std::make_unique<ClipObjective>(spec, seed, device);
}

}  // namespace drm
