#include "scorers/hpsv3_scorer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "common/stopwatch.h"
#include "runtime/device.h"
#include "scorers/clip_vision.h"
#include "scorers/hpsv3_model.h"
#include "scorers/passes.h"

namespace drm {
namespace {

Qwen2Pixels read_pixels(const ScorerSource& source, const Qwen2VisionConfig& vision) {
  std::shared_ptr<Json> keep;
  const auto settings = scorer_settings(source, keep);
  Qwen2Pixels p{vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size};
  p.min_pixels = settings.integer("min_pixels", p.min_pixels);
  p.max_pixels = settings.integer("max_pixels", p.max_pixels);
  if (p.min_pixels < 1 || p.max_pixels < p.min_pixels || p.max_pixels > (1 << 26))
    throw Failure(Code::BadRequest, "[hpsv3] expected min_pixels from 1 and max_pixels from there to 67108864, found " +
                                        std::to_string(p.min_pixels) + " and " + std::to_string(p.max_pixels));
  return p;
}

class Hpsv3Scorer final : public Scorer {
 public:
  Hpsv3Scorer(const ScorerSource& source, const LoadOptions& options, Control& control)
      : device_(parse_device(options.device)), model_(make_hpsv3(read_hpsv3_config(source.config))) {
    pixels_ = read_pixels(source, model_.config.vision);
    info_.device = device_.str();
    auto dtype = parse_dtype(options.dtype);
    // Matrices stay in the file either way, so that fp32 takes no more memory.
    if (device_.is_cpu() && !cpu_multiplies(dtype)) dtype = at::kFloat;
    info_.dtype = dtype == at::kFloat ? "fp32" : options.dtype;
    const Stopwatch clock;
    const auto progress = [&](uint64_t done, uint64_t total) {
      control.check();
      control.report({"load", static_cast<int64_t>(done), static_cast<int64_t>(total), clock.seconds()});
    };
    load_hpsv3(model_, Weights::open(source.weights, hpsv3_keys()), dtype, device_, progress);
    info_.parameters = size_of(model_).parameters;
    each_tensor(model_, [&](const std::string&, Tensor& t) { info_.weight_bytes += static_cast<int64_t>(t.nbytes()); });
    info_.image_size = std::llround(std::sqrt(static_cast<double>(pixels_.max_pixels)));
    info_.tokens = model_.config.text.max_position_embeddings;
  }

  const ScorerInfo& info() const override { return info_; }

  Scores score(const ImagesToScore& r, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    const auto sequences = sequences_of(r);
    size_t longest = 0;
    for (const auto& row : sequences) longest = std::max(longest, row.size());
    const auto pass = [&](size_t begin, size_t end) {
      const auto [patches, grids] = patches_of(r.images, begin, end);
      // A pass takes minutes on a CPU: whoever cancels waits for a layer only.
      const Observer between_layers = [&](const std::string&, const Tensor&) { control.check(); };
      const auto rows =
          std::vector(sequences.begin() + static_cast<int64_t>(begin), sequences.begin() + static_cast<int64_t>(end));
      return hpsv3_forward(model_, patches.to(device_), grids, rows, &between_layers);
    };
    const auto said =
        in_passes({"hpsv3", "images"}, r.images.size(), static_cast<int64_t>(longest), pass, control).view({-1, 2});
    const auto column = [&](const Tensor& t) {
      const auto dense = t.contiguous();
      return std::vector<float>(dense.const_data_ptr<float>(), dense.const_data_ptr<float>() + dense.numel());
    };
    return {column(said.select(1, 0)), column(said.select(1, 1).exp())};
  }

 private:
  /// What each image is judged by, all checked before anything is computed.
  std::vector<std::vector<int64_t>> sequences_of(const ImagesToScore& r) const {
    if (r.prompt_of.size() != r.images.size())
      throw Failure(Code::BadRequest, "[hpsv3] expected a prompt for each of " + std::to_string(r.images.size()) +
                                          " images, found " + std::to_string(r.prompt_of.size()));
    std::vector<std::vector<int64_t>> sequences;
    for (size_t i = 0; i < r.images.size(); ++i) {
      const auto prompt = r.prompt_of[i];
      if (prompt < 0 || prompt >= static_cast<int64_t>(r.prompts.size()))
        throw Failure(Code::BadRequest, "[hpsv3] prompt " + std::to_string(prompt) + ": expected one of " +
                                            std::to_string(r.prompts.size()));
      const auto grid = qwen2_grid(r.images[i].height, r.images[i].width, pixels_);
      sequences.push_back(hpsv3_sequence(model_.config, r.prompts[static_cast<size_t>(prompt)],
                                         grid.patches() / model_.config.vision.block_patches(), prompt));
    }
    return sequences;
  }

  std::pair<Tensor, std::vector<PatchGrid>> patches_of(const std::vector<Bitmap>& images, size_t begin,
                                                       size_t end) const {
    std::vector<Tensor> patches;
    std::vector<PatchGrid> grids;
    for (auto i = begin; i < end; ++i) {
      const auto bytes = prepared(images, i, i + 1, [&](const Bitmap& image) { return qwen2_resized(image, pixels_); });
      patches.push_back(qwen2_patches(clip_pixels(bytes), pixels_));
      grids.push_back(qwen2_grid(images[i].height, images[i].width, pixels_));
    }
    return {at::cat(patches), grids};
  }

  at::Device device_;
  Hpsv3 model_;
  Qwen2Pixels pixels_;
  ScorerInfo info_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<Scorer> load_hpsv3_scorer(const ScorerSource& source, const LoadOptions& options, Control& control) {
  return std::make_shared<Hpsv3Scorer>(source, options, control);
}

}  // namespace drm
