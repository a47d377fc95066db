// adaLN's two element-wise operations. Each is defined by its composite form (the specification); the fused forms
// (fused.h) make one pass over memory instead of five, on a CPU in training too.
#pragma once
#include <ATen/core/Tensor.h>

namespace drm {

/// layer_norm(x) * (1 + scale) + shift with no weights and eps 1e-6: x (B, L, D), shift and scale (B, D).
at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale);
/// x + gate * y: x and y (B, L, D), gate (B, D).
at::Tensor gated_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y);

namespace composite {
at::Tensor modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale);
at::Tensor gated_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y);
}  // namespace composite

}  // namespace drm
