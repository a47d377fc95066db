// Which of an image's candidates goes on (Eq. 12), and its forwarding, on the device and without waiting for it. On a
// CPU and on CUDA it is fused (select_cpu.cc, cuda/select.cu); namespace composite is its definition.
// Shapes: B images, K candidates of each, latents (B, C, H, W) fp32.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace drm {

/// How one candidate is chosen. Greedy: the largest reward, ties to the lowest index. Soft (temperature > 0): drawn
/// with softmax(rewards / temperature) by the row's uniform number. NaN never wins, not even against -inf.
struct Choice {
  double temperature = 0;
  at::Tensor uniforms;  // (B) fp32, for the soft choice
};

struct Selected {
  at::Tensor latents;  // (B, C, H, W)
  at::Tensor index;    // (B) int64
};

/// `unscored` (B) int32: the first step (of `step_index`) at which all of a row's rewards were NaN, -1 before; the row
/// then goes on with candidate 0 (uniformly drawn when soft), and whoever sampled reads `unscored` when waiting costs
/// nothing.
Selected select(const at::Tensor& candidates, const at::Tensor& rewards_BK, const Choice& choice, int64_t step_index,
                at::Tensor& unscored);

/// Probabilities of the soft choice, (..., K) in double: NaN has 0, +inf share all, a row of NaN is uniform.
at::Tensor choice_probabilities(const at::Tensor& rewards, double temperature);

namespace composite {
Selected select(const at::Tensor& candidates, const at::Tensor& rewards_BK, const Choice& choice, int64_t step_index,
                at::Tensor& unscored);
}  // namespace composite

namespace fused::cpu {
void select(const at::Tensor& candidates, const at::Tensor& rewards, const Choice& choice, int64_t step_index,
            at::Tensor& unscored, Selected& out);
}  // namespace fused::cpu

}  // namespace drm
