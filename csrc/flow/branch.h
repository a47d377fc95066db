// Candidates of a step (section 3.4): one pass over memory for guidance, the SDE step's mean, K noises drawn where they
// are used, and K candidates. On a CPU and on CUDA it is fused (branch_cpu.cc, cuda/branch.cu); namespace composite is
// its definition. Candidates are the same bits in all three: noise is a function of its key (random/philox.h) and every
// operation is rounded once. Nothing waits for the device.
// Shapes: B images, K candidates of each, latents (B, C, H, W) fp32.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "flow/guided_velocity.h"
#include "flow/sde_step.h"
#include "random/philox.h"

namespace drm {

/// Which noise each row of a batch branches by, (B, 2) int64 on the rows' device: the image's seed, and its number
/// where many share a seed. Make it once, before the loop.
at::Tensor branch_keys(const std::vector<uint64_t>& seeds, const std::vector<int64_t>& samples, at::Device device);

/// Candidates (B, K, C, H, W) fp32. Candidate i of row b: mean + noise_std * (normal numbers of Purpose::Branch,
/// keys[b], step_index, candidate i). `step` has noise; 1 <= k < 2^24. Without gradients.
at::Tensor branch(const at::Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, const at::Tensor& keys,
                  int64_t step_index, int64_t k);

namespace composite {
at::Tensor branch(const at::Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, const at::Tensor& keys,
                  int64_t step_index, int64_t k);
/// With the noise given, (K, B, C, H, W).
at::Tensor branch(const at::Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, const at::Tensor& noise);
}  // namespace composite

namespace fused::cpu {
void branch(const at::Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, const at::Tensor& keys,
            int64_t step_index, at::Tensor& candidates);
}  // namespace fused::cpu

}  // namespace drm
