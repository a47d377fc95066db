#include "scorers/clip_scorer.h"

#include <ATen/ATen.h>

#include <mutex>

#include "common/stopwatch.h"
#include "runtime/device.h"
#include "scorers/clip_images.h"
#include "scorers/clip_model.h"
#include "scorers/clip_texts.h"
#include "scorers/passes.h"
#include "text/text_keys.h"

namespace drm {
namespace {

class ClipScorer final : public Scorer {
 public:
  ClipScorer(const ScorerSource& source, const LoadOptions& options, Control& control)
      : device_(parse_device(options.device)), model_(make_clip_model(read_clip_model_config(source.config))) {
    const auto dtype = parse_dtype(options.dtype);
    const auto& vision = model_.vision.config;
    std::shared_ptr<Json> keep;
    how_ = read_clip_images(scorer_settings(source, keep), vision.image_size);
    if (!source.preprocessor_config.empty()) check_preprocessor(source.preprocessor_config, how_);
    info_.device = device_.str();
    info_.dtype = options.dtype;
    info_.parameters = size_of(model_).parameters;
    info_.weight_bytes = info_.parameters * static_cast<int64_t>(at::elementSize(dtype));
    info_.image_size = vision.image_size;
    info_.tokens = model_.text.config.max_position_embeddings;
    info_.width = vision.projection_dim;
    const Stopwatch clock;
    const auto progress = [&](uint64_t done, uint64_t total) {
      control.check();
      control.report({"load", static_cast<int64_t>(done), static_cast<int64_t>(total), clock.seconds()});
    };
    const auto weights = Weights::open(source.weights, clip_keys(), Pickles::Read);
    load_clip_model(model_, weights, dtype, device_, progress);
    info_.logit_scale = checked_logit_scale(model_, weights);
  }

  const ScorerInfo& info() const override { return info_; }

  Features image_features(const std::vector<Bitmap>& images, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    const auto prepare = [&](size_t begin, size_t end) { return prepared_for_clip(images, begin, end, how_); };
    const auto tower = [&](const at::Tensor& ready, size_t, size_t) {
      return drm::image_features(model_, clip_input(ready, device_));
    };
    return to_features(
        in_passes({"clip", "images"}, images.size(), 1 + model_.vision.config.patches(), prepare, tower, control),
        info_.width);
  }

  Features text_features(const std::vector<std::vector<int64_t>>& ids, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    const auto tower = [&](size_t begin, size_t end) {
      return drm::text_features(model_, clip_rows("clip", ids, begin, end, model_.text.config).to(device_));
    };
    return to_features(in_passes({"clip", "texts"}, ids.size(), info_.tokens, tower, control), info_.width);
  }

 private:
  at::Device device_;
  ClipModel model_;
  ClipImages how_;
  ScorerInfo info_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<Scorer> load_clip_scorer(const ScorerSource& source, const LoadOptions& options, Control& control) {
  return std::make_shared<ClipScorer>(source, options, control);
}

}  // namespace drm
