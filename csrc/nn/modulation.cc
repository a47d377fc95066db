#include "nn/modulation.h"

#include <ATen/ATen.h>

#include "nn/fused.h"

namespace drm {

using at::Tensor;

namespace composite {

Tensor modulated_norm(const Tensor& x, const Tensor& shift, const Tensor& scale) {
  const auto y = at::layer_norm(x, {x.size(-1)}, {}, {}, 1e-6) * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1);
  // An fp16 model's streams are fp32 (mmdit.cc), the inputs of its products are not.
  return scale.scalar_type() == at::kHalf ? y.to(at::kHalf) : y;
}

Tensor gated_add(const Tensor& x, const Tensor& gate, const Tensor& y) {
  const auto g = gate.unsqueeze(1);
  return x + (g.scalar_type() == at::kHalf ? g.to(at::kFloat) : g) * y;
}

}  // namespace composite

Tensor modulated_norm(const Tensor& x, const Tensor& shift, const Tensor& scale) {
  if (auto y = fused::modulated_norm(x, shift, scale)) return *y;
  return composite::modulated_norm(x, shift, scale);
}

Tensor gated_add(const Tensor& x, const Tensor& gate, const Tensor& y) {
  if (auto z = fused::gated_add(x, gate, y)) return *z;
  return composite::gated_add(x, gate, y);
}

}  // namespace drm
