// Fused forms of the element-wise operations of a transformer block: one pass over memory each. They are used when no
// gradient is wanted and the device has them; the composite forms (modulation.h, attention.h) define the results.
// All arithmetic is fp32 with one rounding at the end, so that bf16 results are at least as exact as the composite's.
// Shapes: B batch, L tokens, D width, H heads, K channels of a head.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace drm::fused {

/// Nothing when the fused form does not apply: gradients wanted, other dtypes than fp32 and bf16, other layouts.
std::optional<at::Tensor> modulated_norm(const at::Tensor& x_BLD, const at::Tensor& shift_BD,
                                         const at::Tensor& scale_BD);
std::optional<at::Tensor> gated_add(const at::Tensor& x_BLD, const at::Tensor& gate_BD, const at::Tensor& y_BLD);
/// x as split_heads gives it, a (B, H, L, K) view of (B, L, H * K); the result is such a view too.
std::optional<at::Tensor> qk_norm(const at::Tensor& x_BHLK, const at::Tensor& weight_K);

namespace cpu {
void modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, at::Tensor& out);
void gated_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y, at::Tensor& out);
void qk_norm(const at::Tensor& x_BLHK, const at::Tensor& weight, at::Tensor& out_BLHK);
}  // namespace cpu

}  // namespace drm::fused
