#include "scorers/clip_scorer.h"

#include <ATen/ATen.h>

#include <cmath>
#include <mutex>

#include "common/stopwatch.h"
#include "runtime/device.h"
#include "scorers/clip_model.h"
#include "scorers/passes.h"
#include "text/text_keys.h"

namespace drm {
namespace {

/// Refuses a model that wants its images prepared in another way than ours.
void check_preprocessor(const std::string& path, int64_t size) {
  const auto json = Json::read(path);
  const auto bad = [&](const std::string& what) {
    throw Failure(Code::BadConfig,
                  "[config] " + path + ": expected CLIP's preprocessing, found " + what +
                      "; its scores would mean something else than this model's",
                  {{"file", path}});
  };
  const auto numbers = [&](const char* key, const std::array<double, 3>& clip) {
    const auto* found = json.find(key);
    if (!found || found->is_null()) return;
    if (!found->is_array() || found->items().size() != 3) bad(std::string("no three numbers as ") + key);
    for (size_t i = 0; i < 3; ++i)
      if (!found->items()[i].is_number() || std::abs(found->items()[i].as_double() - clip[i]) > 1e-6)
        bad(std::string("another ") + key);
  };
  numbers("image_mean", kClipMean);
  numbers("image_std", kClipDeviation);
  if (const auto* resample = json.find("resample"); resample && !(resample->is_int() && resample->as_int() == 3))
    bad("another resample than 3 (bicubic)");
  for (const char* key : {"do_resize", "do_center_crop", "do_rescale", "do_normalize"})
    if (const auto* flag = json.find(key); flag && flag->is_bool() && !flag->as_bool())
      bad(std::string(key) + " false");
  // {"height", "width"}, {"shortest_edge"}, or a number in older files.
  for (const char* key : {"crop_size", "size"}) {
    const auto* found = json.find(key);
    if (!found) continue;
    std::vector<const Json*> sides{found};
    if (found->is_object()) {
      sides.clear();
      for (const auto& [name, side] : found->members()) sides.push_back(&side);
    }
    for (const auto* side : sides)
      if (!side->is_int() || side->as_int() != size)
        bad(std::string("a ") + key + " other than the config's image_size " + std::to_string(size));
  }
}

class ClipScorer final : public Scorer {
 public:
  ClipScorer(const ScorerSource& source, const LoadOptions& options, Control& control)
      : device_(parse_device(options.device)), model_(make_clip_model(read_clip_model_config(source.config))) {
    const auto dtype = parse_dtype(options.dtype);
    const auto& vision = model_.vision.config;
    if (!source.preprocessor_config.empty()) check_preprocessor(source.preprocessor_config, vision.image_size);
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
    load_clip_model(model_, Weights::open(source.weights, clip_keys()), dtype, device_, progress);
    info_.logit_scale = model_.logit_scale.value.item<double>();
  }

  const ScorerInfo& info() const override { return info_; }

  Features image_features(const std::vector<Bitmap>& images, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    const auto size = info_.image_size;
    const auto tower = [&](size_t begin, size_t end) {
      const auto bytes = prepared(images, begin, end, [&](const Bitmap& image) { return pillow_square(image, size); });
      return drm::image_features(model_, clip_pixels(bytes.to(device_)));
    };
    return to_features(in_passes({"clip", "images"}, images.size(), 1 + model_.vision.config.patches(), tower, control),
                       info_.width);
  }

  Features text_features(const std::vector<std::vector<int64_t>>& ids, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    const auto tower = [&](size_t begin, size_t end) {
      return drm::text_features(model_, token_rows("clip", ids, begin, end, info_.tokens).to(device_));
    };
    return to_features(in_passes({"clip", "texts"}, ids.size(), info_.tokens, tower, control), info_.width);
  }

 private:
  at::Device device_;
  ClipModel model_;
  ScorerInfo info_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<Scorer> load_clip_scorer(const ScorerSource& source, const LoadOptions& options, Control& control) {
  return std::make_shared<ClipScorer>(source, options, control);
}

}  // namespace drm
