#include "api/decoded_scorer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "models/pass_budget.h"
#include "vae/images.h"

namespace drm {
namespace {

/// Latent pixels decoded in one pass: one image of 512 pixels a side by SD3's VAE, since activations of several would
/// exceed all else that sampling needs.
constexpr int64_t kDecodedTogether = int64_t{64} * 64;

std::vector<Bitmap> decoded(const CandidateView& view, const Tensor& x_0, const Control& control) {
  const auto rows = x_0.size(0), most = std::max<int64_t>(1, kDecodedTogether / (x_0.size(2) * x_0.size(3)));
  std::vector<Bitmap> images;
  for (int64_t at = 0; at < rows; at += most) {
    control.check();
    // The scorer prepares images on the CPU: waiting for the device is part of the price.
    const auto bytes =
        decode_to_bytes(view.vae, x_0.narrow(0, at, std::min(most, rows - at)), view.tile, control).contiguous();
    const auto size = bytes.size(1) * bytes.size(2) * bytes.size(3);
    const auto* p = bytes.const_data_ptr<uint8_t>();
    for (int64_t i = 0; i < bytes.size(0); ++i, p += size) {
      Bitmap image;
      image.height = bytes.size(1);
      image.width = bytes.size(2);
      image.pixels.assign(p, p + size);
      images.push_back(std::move(image));
    }
  }
  return images;
}

}  // namespace

LatentScorer decoded_scorer(const CandidateView& view, BatchJudge judge, const Control& control) {
  return [view, judge = std::move(judge), &control](const Tensor& candidates, double sigma,
                                                    const std::vector<int64_t>& image_of) {
    ImagesToScore request;
    request.images = decoded(view, clean_estimates(view, candidates, sigma, image_of), control);
    if (!judge.rows.empty())
      for (size_t i = 0; i < image_of.size(); ++i) {
        // Rows of one image lie side by side, and its prompt is read once.
        if (i == 0 || image_of[i] != image_of[i - 1])
          request.prompts.push_back(judge.rows[static_cast<size_t>(image_of[i])]);
        request.prompt_of.push_back(static_cast<int64_t>(request.prompts.size()) - 1);
      }
    // The scorer's own progress would take the place of that of the steps.
    Control quiet;
    quiet.on_progress = [&control](const Progress&) { control.check(); };
    const auto scores = judge.scorer->score(request, quiet).values;
    return at::tensor(scores, at::kFloat).to(candidates.device()) * judge.factor;
  };
}

int64_t rows_per_pass(const CandidateView& view, int64_t height, int64_t width) {
  const auto patch = view.policy.info().patch_size;
  return rows_per_pass(PassBudget::Candidates, height * width / (patch * patch) + view.text.tokens());
}

}  // namespace drm
