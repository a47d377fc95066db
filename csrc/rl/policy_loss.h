// The clipped objective of GRPO for one denoising step (Eq. 4-5; reference: flow_grpo's train_sd3.py). Sampling and
// training take a step's mean and log-probability from here, so that their ratio is 1 before the first update.
// Shapes: N states, K candidates of each (1 for Flow-GRPO), latents (N, C, H, W).
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "flow/sde_step.h"

namespace drm {

/// How a step draws its noise, and what its log-probability is.
enum class StepNoise {
  Sde,  // Eq. 6
  Cps,  // keeps the coefficients of the marginal (cps_step)
};

/// Step `index` of the grid. Throws Failure(BadRequest) for a level that gives no noise, which leaves nothing to learn.
SdeStep noisy_step(StepNoise noise, const std::vector<float>& sigmas, int64_t index, double level);

/// Mean log-probability of each candidate (N, K, C, H, W) under a step with this mean: (N, K) fp32, with the mean's
/// gradient.
at::Tensor candidate_log_prob(StepNoise noise, const at::Tensor& candidates, const at::Tensor& mean,
                              const SdeStep& step);

enum class PolicyDivergence {
  Flow,     // of the means, over 2 sigma_t^2: flow_grpo's
  Exact,    // of the two Gaussians
  Velocity  // mean square of the velocities' difference
};

struct PolicyLossOptions {
  double clip_range = 1e-4;
  double advantage_clip = 5;  // advantages are clamped to +- this; 0: not at all
  double kl_beta = 0;
};

struct PolicyLoss {
  at::Tensor total;                // policy + kl_beta * kl
  at::Tensor policy, kl;           // scalars; kl undefined without a reference
  at::Tensor ratio;                // (N, K): exp(log_prob - old_log_prob), detached
  at::Tensor approx_kl;            // mean (log_prob - old_log_prob)^2 / 2
  at::Tensor clip_high, clip_low;  // share of ratios above 1 + clip_range and below 1 - clip_range
};

/// log_prob with gradients, old_log_prob and advantages (N, K); divergence (N), or undefined.
PolicyLoss policy_loss(const at::Tensor& log_prob, const at::Tensor& old_log_prob, const at::Tensor& advantages,
                       const at::Tensor& divergence, const PolicyLossOptions& options);

/// What the policy's step differs by from the reference's, (N). Means and velocities (N, C, H, W) fp32.
at::Tensor policy_divergence(PolicyDivergence kind, const at::Tensor& mean, const at::Tensor& reference_mean,
                             const at::Tensor& velocity, const at::Tensor& reference_velocity, const SdeStep& step);

/// Advantages as the loss takes them.
at::Tensor clamp_advantages(const at::Tensor& advantages, double clip);

}  // namespace drm
