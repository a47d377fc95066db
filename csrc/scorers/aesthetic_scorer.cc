#include "scorers/aesthetic_scorer.h"

#include <ATen/ATen.h>

#include <mutex>

#include "common/stopwatch.h"
#include "runtime/device.h"
#include "scorers/clip_model.h"
#include "scorers/passes.h"
#include "scorers/weights_hint.h"
#include "text/text_keys.h"

namespace drm {
namespace {

/// What is to be done about weights that do not fit.
std::string advice(const Weights& weights) {
  const bool clip = weights.has("vision_model.embeddings.class_embedding"), head = weights.has("layers.7.weight");
  if (clip == head) return looks_like(weights);
  return clip ? "these are a CLIP's weights alone: name the file of the aesthetic predictor's head, too"
              : "this is the head alone: name the weights of CLIP ViT-L/14, too";
}

class AestheticScorer final : public Scorer {
 public:
  AestheticScorer(const ScorerSource& source, const LoadOptions& options, Control& control)
      : device_(parse_device(options.device)), model_(make_aesthetic(source.config)) {
    std::shared_ptr<Json> keep;
    const auto crop = scorer_settings(source, keep).one_of("crop", {"transformers", "torchvision"});
    rule_ = crop == "torchvision" ? CropRule::Torchvision : CropRule::Transformers;
    const auto dtype = parse_dtype(options.dtype);
    info_.device = device_.str();
    info_.dtype = options.dtype;
    info_.parameters = size_of(model_).parameters;
    info_.weight_bytes = info_.parameters * static_cast<int64_t>(at::elementSize(dtype));
    info_.image_size = model_.vision.config.image_size;
    info_.width = model_.vision.config.projection_dim;
    const Stopwatch clock;
    const auto progress = [&](uint64_t done, uint64_t total) {
      control.check();
      control.report({"load", static_cast<int64_t>(done), static_cast<int64_t>(total), clock.seconds()});
    };
    load_aesthetic(model_, Weights::open(source.weights, clip_keys(), Pickles::Read), dtype, device_, progress);
    head_ = collapse(model_.head, device_);
    model_.head.layers.clear();
  }

  const ScorerInfo& info() const override { return info_; }

  Features image_features(const std::vector<Bitmap>& images, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    return to_features(over(images, control, [](const Tensor& features) { return features; }), info_.width);
  }

  Scores score(const ImagesToScore& r, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    const auto scores = over(r.images, control, [&](const Tensor& features) { return affine(head_, features); });
    const auto* values = scores.const_data_ptr<float>();
    return {{values, values + scores.numel()}, {}};
  }

 private:
  /// `reading` of the images' unit vectors.
  Tensor over(const std::vector<Bitmap>& images, Control& control,
              const std::function<Tensor(const Tensor&)>& reading) const {
    const auto prepare = [&](size_t begin, size_t end) {
      return prepared(images, begin, end,
                      [&](const Bitmap& image) { return pillow_square(image, info_.image_size, rule_); });
    };
    const auto network = [&](const Tensor& bytes, size_t, size_t) {
      return reading(clip_image_features(model_.vision, clip_pixels(bytes.to(device_))));
    };
    return in_passes({"aesthetic", "images"}, images.size(), 1 + model_.vision.config.patches(), prepare, network,
                     control);
  }

  at::Device device_;
  AestheticModel model_;
  AffineMap head_;
  CropRule rule_ = CropRule::Transformers;
  ScorerInfo info_;
  std::mutex mutex_;
};

}  // namespace

AestheticModel make_aesthetic(const std::string& config) {
  const auto vision = read_clip_model_config(config).vision;
  return {make_clip_vision(vision),
          make_affine_head(vision.projection_dim, read_head_sizes(Json::read(config), config))};
}

void load_aesthetic(AestheticModel& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                    const std::function<void(uint64_t, uint64_t)>& progress) {
  auto all = wanted(m);
  for (auto& w : all)
    if (w.key.rfind("layers.", 0) == 0) w.dtype = at::kFloat;
  weights.fill(all, dtype, device, beside_clip_vision, advice(weights), progress);
}

std::shared_ptr<Scorer> load_aesthetic_scorer(const ScorerSource& source, const LoadOptions& options,
                                              Control& control) {
  return std::make_shared<AestheticScorer>(source, options, control);
}

}  // namespace drm
