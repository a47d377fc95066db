#include "reward/thurstone.h"

#include <ATen/ATen.h>

#include <cmath>

namespace drm {
namespace {

/// log Phi(x). Where Phi underflows, by the scaled complementary error function: Phi(x) = exp(-x^2 / 2) erfcx(-x / sqrt
/// 2) / 2. libtorch's own log_ndtr has the same values, but its gradient is a difference of large numbers there.
at::Tensor log_phi(const at::Tensor& x) {
  const auto left = x.lt(-1);
  const auto t = -x / std::sqrt(2.0);
  // Each half sees only what it is good for: a NaN or infinity of the other's would reach the gradient.
  const auto below = at::where(left, t, at::zeros_like(t)), above = at::where(left, at::zeros_like(t), -t);
  return at::where(left, at::log(at::special_erfcx(below) / 2) - below.square(), at::log1p(-at::erfc(above) / 2));
}

}  // namespace

at::Tensor thurstone_loss(const at::Tensor& chosen, const at::Tensor& rejected, const at::Tensor& sigma,
                          const ScoreVariance& variance) {
  const auto deviation = (2 * (variance.clean + variance.noise * sigma.to(at::kFloat).square())).sqrt();
  return -log_phi((chosen.to(at::kFloat) - rejected.to(at::kFloat)) / deviation);
}

}  // namespace drm
