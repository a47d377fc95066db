#include "scorers/imagereward_scorer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <mutex>
#include <numeric>

#include "common/stopwatch.h"
#include "runtime/device.h"
#include "scorers/clip_vision.h"
#include "scorers/distinct.h"
#include "scorers/imagereward_model.h"
#include "scorers/passes.h"

namespace drm {
namespace {

class ImageRewardScorer final : public Scorer {
 public:
  ImageRewardScorer(const ScorerSource& source, const LoadOptions& options, Control& control)
      : device_(parse_device(options.device)), model_(make_imagereward(read_imagereward_config(source.config))) {
    const auto dtype = parse_dtype(options.dtype);
    info_.device = device_.str();
    info_.dtype = options.dtype;
    info_.parameters = size_of(model_).parameters;
    info_.weight_bytes = info_.parameters * static_cast<int64_t>(at::elementSize(dtype));
    info_.image_size = model_.vision.config.image_size;
    info_.tokens = model_.config.max_length;
    const Stopwatch clock;
    const auto progress = [&](uint64_t done, uint64_t total) {
      control.check();
      control.report({"load", static_cast<int64_t>(done), static_cast<int64_t>(total), clock.seconds()});
    };
    const auto plain = [](const std::vector<std::string>& names) { return plain_keys(names, "", "ImageReward"); };
    load_imagereward(model_, Weights::open(source.weights, plain, Pickles::Read), dtype, device_, progress);
    head_ = collapse(model_.head, device_);
    model_.head.layers.clear();
  }

  const ScorerInfo& info() const override { return info_; }

  /// An image that several prompts are about is seen once: the pairs are gone through image by image.
  Scores score(const ImagesToScore& r, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    check_prompts(r);
    const auto rows = token_rows("imagereward", r.prompts, 0, r.prompts.size(), info_.tokens);
    check_rows(rows);
    const auto of = distinct(r.images).of;
    std::vector<size_t> order(r.images.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return of[a] < of[b]; });
    const auto same_as_before = [&](size_t i) { return i > 0 && of[order[i]] == of[order[i - 1]]; };
    Tensor last;  // tokens of the image before, (1, 1 + N, E)
    const auto prepare = [&](size_t begin, size_t end) {
      std::vector<Bitmap> images;
      for (auto i = begin; i < end; ++i)
        if (!same_as_before(i)) images.push_back(r.images[order[i]]);
      const auto square = [&](const Bitmap& image) {
        return pillow_square(image, info_.image_size, CropRule::Torchvision);
      };
      return images.empty() ? at::empty({0}, at::kByte) : prepared(images, 0, images.size(), square);
    };
    const auto network = [&](const Tensor& bytes, size_t begin, size_t end) {
      std::vector<int64_t> prompts, image_of;
      const bool kept = same_as_before(begin);
      int64_t image = kept ? 0 : -1;
      for (auto i = begin; i < end; ++i) {
        if (!same_as_before(i)) ++image;
        image_of.push_back(image);
        prompts.push_back(r.prompt_of[order[i]]);
      }
      std::vector<Tensor> seen;
      if (kept) seen.push_back(last);
      if (bytes.numel()) seen.push_back(blip_vision_forward(model_.vision, clip_pixels(bytes.to(device_))));
      const auto tokens = at::cat(seen);
      last = tokens.narrow(0, tokens.size(0) - 1, 1).clone();
      const auto ids = rows.index_select(0, at::tensor(prompts, at::kLong)).to(device_);
      const auto hidden =
          imagereward_hidden(model_, tokens.index_select(0, at::tensor(image_of, at::kLong).to(device_)), ids);
      return (affine(head_, hidden.select(1, 0)) - model_.config.mean) / model_.config.deviation;
    };
    const auto cost = 1 + model_.vision.config.patches() + info_.tokens;
    const auto scores = in_passes({"imagereward", "images"}, order.size(), cost, prepare, network, control);
    Scores result{std::vector<float>(order.size()), {}};
    for (size_t i = 0; i < order.size(); ++i) result.values[order[i]] = scores.const_data_ptr<float>()[i];
    return result;
  }

 private:
  /// A row without a token has nothing that it could attend to.
  void check_rows(const Tensor& rows) const {
    const auto empty = rows.eq(model_.config.pad_token_id).all(-1);
    if (rows.numel() && empty.any().item<bool>())
      throw Failure(Code::BadRequest, "[imagereward] caption " +
                                          std::to_string(empty.to(at::kInt).argmax().item<int64_t>()) +
                                          ": expected token ids, [CLS] first, found padding alone");
  }

  at::Device device_;
  ImageReward model_;
  AffineMap head_;
  ScorerInfo info_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<Scorer> load_imagereward_scorer(const ScorerSource& source, const LoadOptions& options,
                                                Control& control) {
  return std::make_shared<ImageRewardScorer>(source, options, control);
}

}  // namespace drm
