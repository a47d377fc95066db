// Trajectories to learn from: sampling with noise, everything kept that an update needs. One function serves both
// algorithms (section 3.3): with one candidate a state it is Flow-GRPO's rollout, with K > 1 Step-GRPO's, where K
// candidates branch from each state, are scored at their own noise level, and one of them goes on.
// Shapes: N trajectories, K candidates, latents (N, C, H, W) fp32.
#pragma once
#include "flow/sampler.h"
#include "rl/policy_loss.h"

namespace drm {

/// Which candidate goes on.
enum class Continuation {
  Random,  // uniform: states stay distributed as under the policy that sampled them
  Best,    // of the largest reward, as in step-wise sampling
  First,
  Ode  // none: the Euler step without noise (TempFlow-GRPO)
};

struct RolloutOptions {
  int64_t k = 1;
  StepNoise noise = StepNoise::Sde;
  double noise_level = 0.7;
  int64_t from = 0, until = 0;  // steps with noise, from <= step < until; Euler steps outside
  Continuation continuation = Continuation::Random;
  int64_t rows_per_pass = 0;  // of the scorers; 0: all
  bool score_states = false;  // with one candidate: scores of the states at steps from ... until, at their own levels
};

/// What is random in a rollout, for those who bring their own numbers (fixtures); else see noise_of_keys.
struct RolloutNoise {
  /// Candidates of a step with their noise, (N, K, C, H, W).
  std::function<Tensor(const Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, int64_t index, int64_t k)>
      branch;
  /// The candidate that goes on under Continuation::Random, (N) int64.
  std::function<Tensor(int64_t index, int64_t k)> choose;
};
/// Philox by (seed, sample, step, candidate): whatever else is in the batch, and on whichever process.
RolloutNoise noise_of_keys(uint64_t seed, const std::vector<int64_t>& samples, at::Device device);

/// A step that can be trained.
struct RolloutStep {
  int64_t index = 0;
  SdeStep step;
  Tensor state;                // (N, C, H, W): what the network saw
  Tensor candidates;           // (N, K, C, H, W)
  Tensor old_log_prob;         // (N, K)
  std::vector<Tensor> scores;  // of each scorer (N, K), where candidates are scored
  Tensor chosen;               // (N) int64; undefined for Continuation::Ode
};

struct RolloutTimes {
  double policy = 0, reward = 0;  // wall time on a CPU
};

struct Trajectories {
  std::vector<RolloutStep> steps;  // from ... until - 1
  Tensor final;                    // latents at noise level 0
  /// Of each scorer: with K = 1 of the final latents at level 0, (N), or with score_states of the states, (states, N).
  std::vector<Tensor> scores;
};

/// A scorer with its weight in the sum that Continuation::Best goes by.
struct WeightedScorer {
  LatentScorer score;
  double weight = 1;
};

/// Walks all steps from `latents` without gradients. Checks `control` before each, and calls `stepped` after it. Throws
/// Failure(BadRequest) for a window outside the grid or steps without noise, Failure(NotFinite) naming the step at
/// which latents stop being finite. Rewards may be NaN: that is the caller's to count.
Trajectories roll_out(const GuidedPolicy& policy, Tensor latents, const Schedule& schedule,
                      const RolloutOptions& options, const RolloutNoise& noise,
                      const std::vector<WeightedScorer>& scorers, const Control& control,
                      const std::function<void(int64_t)>& stepped = {}, RolloutTimes* times = nullptr);

}  // namespace drm
