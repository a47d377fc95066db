// Attention through libtorch's scaled_dot_product_attention.
// Shapes: B batch, L tokens, D width, H heads, K channels of a head (D = H * K).
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace drm {

/// (B, L, D) -> (B, H, L, K), a view.
at::Tensor split_heads(const at::Tensor& x_BLD, int64_t heads);
/// (B, H, L, K) -> (B, L, D).
at::Tensor merge_heads(const at::Tensor& x_BHLK);
/// (B, G, L, K) -> (B, G * times, L, K), each head `times` times in a row: heads of keys and values that several heads
/// of queries share (Ainslie et al. 2023, "GQA").
at::Tensor repeat_heads(const at::Tensor& x_BGLK, int64_t times);
/// softmax(q k^T * scale + bias) v, all (B, H, L, K); scale 0 means 1 / sqrt(K). `bias` may be undefined.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal = false,
                  const at::Tensor& bias = {}, double scale = 0);
/// RMS norm over each head's channels with fp32 statistics, cast back, times weight; eps 1e-6 (diffusers' RMSNorm).
/// x (B, H, L, K), weight (K).
at::Tensor qk_norm(const at::Tensor& x, const at::Tensor& weight);

namespace composite {
at::Tensor qk_norm(const at::Tensor& x, const at::Tensor& weight);
}  // namespace composite

}  // namespace drm
