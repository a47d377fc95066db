#include "scorers/clip_scorer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <mutex>

#include "common/stopwatch.h"
#include "models/pass_budget.h"
#include "runtime/device.h"
#include "scorers/clip_model.h"
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
    const auto size = info_.image_size;
    const auto tower = [&](size_t begin, size_t end) {
      const auto n = static_cast<int64_t>(end - begin);
      auto bytes = at::empty({n, size, size, 3}, at::kByte);
      at::parallel_for(0, n, 1, [&](int64_t from, int64_t to) {
        for (auto i = from; i < to; ++i) {
          const auto& image = images[begin + static_cast<size_t>(i)];
          if (image.channels != 3)
            throw Failure(Code::BadRequest,
                          "[clip] expected RGB images, found one of " + std::to_string(image.channels) + " channels");
          const auto square = pillow_square(image, size);
          std::copy(square.pixels.begin(), square.pixels.end(), bytes.data_ptr<uint8_t>() + i * size * size * 3);
        }
      });
      return drm::image_features(model_, clip_pixels(bytes.to(device_)));
    };
    return in_batches("images", images.size(), 1 + model_.vision.config.patches(), tower, control);
  }

  Features text_features(const std::vector<std::vector<int64_t>>& ids, Control& control) override {
    const auto tower = [&](size_t begin, size_t end) {
      auto batch = at::empty({static_cast<int64_t>(end - begin), info_.tokens}, at::kLong);
      for (auto i = begin; i < end; ++i) {
        if (static_cast<int64_t>(ids[i].size()) != info_.tokens)
          throw Failure(Code::BadRequest, "[clip] caption " + std::to_string(i) + ": expected " +
                                              std::to_string(info_.tokens) + " token ids, found " +
                                              std::to_string(ids[i].size()));
        std::copy(ids[i].begin(), ids[i].end(),
                  batch.data_ptr<int64_t>() + static_cast<int64_t>(i - begin) * info_.tokens);
      }
      return drm::text_features(model_, batch.to(device_));
    };
    return in_batches("texts", ids.size(), info_.tokens, tower, control);
  }

 private:
  template <class Tower>
  Features in_batches(const char* phase, size_t count, int64_t tokens, Tower tower, Control& control) {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    const at::NoGradGuard no_grad;
    const Stopwatch clock;
    const auto step = static_cast<size_t>(rows_per_pass(PassBudget::Scorer, tokens));
    Features out{{}, static_cast<int64_t>(count), info_.width};
    out.values.reserve(count * static_cast<size_t>(info_.width));
    for (size_t begin = 0; begin < count; begin += step) {
      control.check();
      const auto end = std::min(count, begin + step);
      const auto rows = tower(begin, end).to(at::kCPU).contiguous();
      if (!at::isfinite(rows).all().template item<bool>())
        throw Failure(Code::NotFinite, std::string("[clip] ") + phase +
                                           ": expected finite features, found NaN or infinity; the scorer's weights "
                                           "are damaged: fetch or train them again");
      const auto* values = rows.template data_ptr<float>();
      out.values.insert(out.values.end(), values, values + rows.numel());
      control.report({phase, static_cast<int64_t>(end), static_cast<int64_t>(count), clock.seconds()});
    }
    return out;
  }

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
