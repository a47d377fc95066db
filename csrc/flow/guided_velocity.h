// Velocities under classifier-free guidance (Ho and Salimans 2022), before their halves are combined: whoever can
// combine them while doing something else, does. Shapes: B images, latents (B, C, H, W).
#pragma once
#include <ATen/core/Tensor.h>

namespace drm {

/// The policy's velocities at x, in fp32, fp16 or bf16: halves that guidance combines, or `conditional` alone.
struct GuidedVelocity {
  at::Tensor unconditional, conditional;
  double scale = 1;
};
/// Combined, fp32.
at::Tensor guided(const GuidedVelocity& velocity);

}  // namespace drm
