#include "nn/rotary.h"

#include <ATen/ATen.h>

namespace drm {

using at::Tensor;

Tensor rotary_frequencies(int64_t width, double base) {
  const auto pair = at::arange(0, width, 2, at::TensorOptions().dtype(at::kDouble));
  return at::pow(at::scalar_tensor(base, pair.options()), -pair / static_cast<double>(width));
}

Rotary rotary_of(const Tensor& angles, at::Device device) {
  const auto both = at::cat({angles, angles}, -1);
  return {both.cos().to(device, at::kFloat), both.sin().to(device, at::kFloat)};
}

Tensor rotate(const Tensor& x, const Rotary& rotary) {
  const auto f = x.to(at::kFloat);
  const auto halves = f.chunk(2, -1);
  return (f * rotary.cos + at::cat({-halves[1], halves[0]}, -1) * rotary.sin).to(x.scalar_type());
}

}  // namespace drm
