// Rotary position embedding (Su et al. 2021, "RoFormer") in the layout of GPT-NeoX: channel i turns with channel
// i + K / 2. Shapes: B batch, H heads, L tokens, K channels of a head.
#pragma once
#include <ATen/core/Tensor.h>

namespace drm {

struct Rotary {
  at::Tensor cos, sin;  // (L, K), fp32
};

/// base^(-2 i / width) for i < width / 2, fp64 on the CPU: radians that a pair turns by from one position to the next.
at::Tensor rotary_frequencies(int64_t width, double base);
/// What turns pair i of token l by angles[l][i]: (L, K / 2), fp64 on the CPU.
Rotary rotary_of(const at::Tensor& angles, at::Device device);
/// x (B, H, L, K) turned, in fp32, and rounded to its dtype.
at::Tensor rotate(const at::Tensor& x, const Rotary& rotary);

}  // namespace drm
