// Branch and select: step-wise sampling's work between two networks (section 3.4, Eq. 12).
//
// branch() is one pass over memory: guidance, the SDE step's mean, K noises drawn where they are used, K candidates and
// their log-probabilities. select() picks a candidate of each row on the device and forwards it. Neither waits for the
// device. On a CPU and on CUDA they are fused (branch_cpu.cc, cuda/branch.cu); namespace composite is their definition.
// Candidates are the same bits in all three: noise is a function of its key (random/philox.h) and every operation is
// rounded once. Log-probabilities agree to the rounding of their sums, and do not depend on the number of threads.
// Shapes: B pictures, K candidates of each, latents (B, C, H, W) fp32.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "flow/sde_step.h"
#include "random/philox.h"

namespace drm {

/// Which noise each row of a batch branches by, (B, 2) int64 on the rows' device: the picture's seed, and its number
/// where many share a seed. Make it once, before the loop.
at::Tensor branch_keys(const std::vector<uint64_t>& seeds, const std::vector<int64_t>& samples, at::Device device);

/// The policy's velocities at x, in fp32, fp16 or bf16: halves that guidance combines, or `conditional` alone.
struct Guided {
  at::Tensor unconditional, conditional;
  double scale = 1;
};
/// Combined, fp32.
at::Tensor guided(const Guided& velocity);

struct Branches {
  at::Tensor candidates;  // (B, K, C, H, W) fp32
  at::Tensor log_prob;    // (B, K) fp32, mean over C, H, W
};

/// Candidate i of row b: mean + noise_std * (normal numbers of Purpose::Branch, keys[b], step_index, candidate i).
/// `step` has noise; 1 <= k < 2^24. Without gradients.
Branches branch(const at::Tensor& x, const Guided& velocity, const SdeStep& step, const at::Tensor& keys,
                int64_t step_index, int64_t k);

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

/// `lost` (B) int32: the first step (of `step_index`) at which all of a row's rewards were NaN, -1 before; the row then
/// goes on with candidate 0 (uniformly drawn when soft), and whoever sampled reads `lost` when waiting costs nothing.
Selected select(const at::Tensor& candidates, const at::Tensor& rewards_BK, const Choice& choice, int64_t step_index,
                at::Tensor& lost);

/// Probabilities of the soft choice, (..., K) in double: NaN has 0, +inf share all, a row of NaN is uniform.
at::Tensor choice_probabilities(const at::Tensor& rewards, double temperature);

namespace composite {
Branches branch(const at::Tensor& x, const Guided& velocity, const SdeStep& step, const at::Tensor& keys,
                int64_t step_index, int64_t k);
/// With the noise given, (K, B, C, H, W).
Branches branch(const at::Tensor& x, const Guided& velocity, const SdeStep& step, const at::Tensor& noise);
Selected select(const at::Tensor& candidates, const at::Tensor& rewards_BK, const Choice& choice, int64_t step_index,
                at::Tensor& lost);
}  // namespace composite

namespace fused::cpu {
void branch(const at::Tensor& x, const Guided& velocity, const SdeStep& step, const at::Tensor& keys,
            int64_t step_index, Branches& out);
void select(const at::Tensor& candidates, const at::Tensor& rewards, const Choice& choice, int64_t step_index,
            at::Tensor& lost, Selected& out);
}  // namespace fused::cpu

}  // namespace drm
