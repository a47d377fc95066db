// Thurstone preference with a variance that grows with the noise (Liu et al. 2026, "DiNa-LRM", arXiv 2602.11146): a
// score is one draw around what an image is worth, and the more noise it was read through, the less a difference says.
#pragma once
#include <ATen/core/Tensor.h>

namespace drm {

/// Variance of a score at noise level sigma: clean + noise sigma^2.
struct ScoreVariance {
  double clean = 0.05, noise = 2;  // the authors' code (HKUST-C4G/diffusion-rm, b7aa964)
};

/// -log Phi((s_chosen - s_rejected) / sqrt(2 variance)), elementwise in fp32; `sigma` (B) is the pairs' noise level.
/// Values and gradients are finite for any margin that a network gives.
at::Tensor thurstone_loss(const at::Tensor& chosen, const at::Tensor& rejected, const at::Tensor& sigma,
                          const ScoreVariance& variance);

}  // namespace drm
