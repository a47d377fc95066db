#include "scorers/lpips_scorer.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "common/stopwatch.h"
#include "runtime/device.h"
#include "scorers/lpips.h"
#include "scorers/pair_features.h"
#include "scorers/passes.h"

namespace drm {
namespace {

/// Features at 512 pixels take 122 MiB of VGG16's, 6 MiB of AlexNet's.
constexpr int64_t kFeatureMb = 1024;

int64_t feature_bytes(const ScorerSource& source) {
  std::shared_ptr<Json> keep;
  const auto mb = scorer_settings(source, keep).integer("feature_mb", kFeatureMb);
  if (mb < 0 || mb > (int64_t{1} << 30))
    throw Failure(Code::BadConfig, "[lpips] feature_mb: expected MiB from 0 on, found " + std::to_string(mb));
  return mb << 20;
}

/// Lin weights of v0.0, or trained otherwise, have the published names and shapes.
void check_version(const Lpips& m, const Control& control) {
  const auto published = published_lpips(m.config.network);
  if (m.config.channels != published.channels) return;
  const auto want = published_lin_sums(m.config.network), found = lin_sums(m);
  for (size_t i = 0; i < want.size(); ++i)
    if (!(std::abs(found[i] - want[i]) <= 1e-5 * want[i])) {
      const auto text = "[lpips] lin" + std::to_string(i) +
                        ".model.1.weight: expected the published v0.1, which adds up to " + std::to_string(want[i]) +
                        ", found " + std::to_string(found[i]) +
                        "; distances are not comparable with published ones: is it v0.0?";
      control.emit({"warning", {{"message", text}}, {}});
      return;
    }
}

class LpipsScorer final : public Scorer {
 public:
  LpipsScorer(const ScorerSource& source, const LoadOptions& options, Control& control)
      : device_(parse_device(options.device)), feature_bytes_(feature_bytes(source)) {
    const auto dtype = parse_dtype(options.dtype);
    const auto weights = Weights::open(source.weights, lpips_keys(), Pickles::Read);
    model_ = make_lpips(source.config.empty() ? guess_lpips_config(weights) : read_lpips_config(source.config));
    info_.device = device_.str();
    info_.dtype = options.dtype;
    info_.parameters = size_of(model_).parameters;
    info_.weight_bytes = info_.parameters * static_cast<int64_t>(at::elementSize(dtype));
    const Stopwatch clock;
    const auto progress = [&](uint64_t done, uint64_t total) {
      control.check();
      control.report({"load", static_cast<int64_t>(done), static_cast<int64_t>(total), clock.seconds()});
    };
    load_lpips(model_, weights, dtype, device_, progress);
    check_version(model_, control);
  }

  const ScorerInfo& info() const override { return info_; }

  std::vector<float> distances(const std::vector<Bitmap>& images, const std::vector<std::pair<int64_t, int64_t>>& pairs,
                               Control& control) override {
    check(images, pairs);
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    // An image alone in its call: its features, and with them a distance, do not depend on what else is compared.
    PairFeatures features(pairs, feature_bytes_, [&](int64_t image) {
      control.check();
      const auto i = static_cast<size_t>(image);
      const auto bytes = prepared(images, i, i + 1, [](const Bitmap& whole) { return whole; });
      return lpips_features(model_, lpips_pixels(bytes.to(device_)));
    });
    const auto pass = [&](size_t begin, size_t) {
      const auto [a, b] = features.of(begin);
      return lpips_by_stage(model_, a, b).sum(1);
    };
    constexpr auto kOneAPass = std::numeric_limits<int64_t>::max();
    const auto all = in_passes({"lpips", "pairs"}, pairs.size(), kOneAPass, pass, control);
    return {all.const_data_ptr<float>(), all.const_data_ptr<float>() + all.numel()};
  }

 private:
  void check(const std::vector<Bitmap>& images, const std::vector<std::pair<int64_t, int64_t>>& pairs) const {
    const auto smallest = smallest_side(model_);
    const auto count = static_cast<int64_t>(images.size());
    const auto size = [](const Bitmap& image) {
      return std::to_string(image.width) + " x " + std::to_string(image.height);
    };
    const auto bad = [](const std::string& what) { throw Failure(Code::BadRequest, "[lpips] " + what); };
    for (const auto& [a, b] : pairs) {
      for (const auto i : {a, b}) {
        if (i < 0 || i >= count)
          bad("pair of images: expected indexes below " + std::to_string(count) + ", found " + std::to_string(i));
        const auto& image = images[static_cast<size_t>(i)];
        if (image.height < smallest || image.width < smallest)
          bad("image " + std::to_string(i) + ": expected at least " + std::to_string(smallest) +
              " pixels a side, found " + size(image) + "; enlarge it before it is compared");
        if (image.channels != 3 || image.height > (int64_t{1} << 24) || image.width > (int64_t{1} << 24) ||
            static_cast<int64_t>(image.pixels.size()) != image.height * image.width * 3)
          bad("image " + std::to_string(i) + ": expected RGB pixels, found " + size(image) + " in " +
              std::to_string(image.pixels.size()) + " bytes");
      }
      const auto &one = images[static_cast<size_t>(a)], &other = images[static_cast<size_t>(b)];
      if (one.height != other.height || one.width != other.width)
        bad("images " + std::to_string(a) + " and " + std::to_string(b) + ": expected one size, found " + size(one) +
            " and " + size(other) + "; bring them to one size before they are compared");
    }
  }

  at::Device device_;
  int64_t feature_bytes_;
  Lpips model_;
  ScorerInfo info_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<Scorer> load_lpips_scorer(const ScorerSource& source, const LoadOptions& options, Control& control) {
  return std::make_shared<LpipsScorer>(source, options, control);
}

}  // namespace drm
