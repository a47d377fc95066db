#include "api/candidates.h"

#include <ATen/ATen.h>

#include "vae/images.h"

namespace drm {

Tensor clean_estimates(const CandidateView& view, const Tensor& candidates, double sigma,
                       const std::vector<int64_t>& image_of) {
  const auto timestep = at::full({candidates.size(0)}, static_cast<float>(sigma) * 1000, candidates.options());
  const auto v = view.policy.velocity(candidates.to(view.dtype), timestep, select_rows(view.text, image_of));
  return candidates - sigma * v.to(at::kFloat);
}

void tell_candidates(const BranchView& branch, const CandidateView& view, int64_t first_image, const Control& control) {
  const auto k = branch.candidates.size(1);
  const auto scores = branch.scores.to(at::kCPU);
  const auto chosen = branch.chosen.to(at::kCPU);
  for (int64_t b = 0; b < branch.candidates.size(0); ++b) {
    control.check();
    const auto x = branch.candidates[b];
    auto x_0 = clean_estimates(view, x, branch.sigma, std::vector<int64_t>(static_cast<size_t>(k), b));
    constexpr int64_t kSmall = 32;  // latent pixels a side
    if (const auto longest = std::max(x_0.size(2), x_0.size(3)); longest > kSmall)
      x_0 = at::adaptive_avg_pool2d(x_0, {std::max<int64_t>(1, x_0.size(2) * kSmall / longest),
                                          std::max<int64_t>(1, x_0.size(3) * kSmall / longest)});
    for (int64_t i = 0; i < k; ++i) {
      auto e = image_event("candidate", decode_to_bytes(view.vae, x_0.narrow(0, i, 1), view.tile, control)[0]);
      e.fields.insert(e.fields.end(), {{"index", static_cast<double>(first_image + b)},
                                       {"step", static_cast<double>(branch.index + 1)},
                                       {"sigma", static_cast<double>(branch.sigma)},
                                       {"candidate", static_cast<double>(i)},
                                       {"score", static_cast<double>(scores[b][i].item<float>())},
                                       {"chosen", chosen[b].item<int64_t>() == i}});
      control.emit(std::move(e));
    }
  }
}

}  // namespace drm
