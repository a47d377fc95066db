// One step of sampling as an SDE (Eq. 6, in the discretisation of flow_grpo): a Gaussian around a mean that is linear
// in the state and the velocity. Sampling branches by it, policy training evaluates its density; all in fp32,
// coefficients in double. Gradients flow through the means.
//
//   sigma_t = a sqrt(t / (1 - t));  x' = cx x + cv v + sigma_t sqrt(-dt) eps,  t = sigma_i, dt = sigma_{i+1} - t < 0
//
// At t = 1 only the 1 - t under the root is taken at the next level; at a = 0 it is the Euler step, bit for bit.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace drm {

struct SdeStep {
  float sigma = 1, sigma_next = 0;
  double cx = 1, cv = -1;             // mean = cx x + cv v
  double std_dev = 0, noise_std = 0;  // sigma_t, and that of the step's noise
  bool euler() const { return noise_std == 0; }
};

/// Step `index` of the grid (Schedule::sigmas) at noise level a. Throws Failure(BadRequest) for a < 0.
SdeStep sde_step(const std::vector<float>& sigmas, int64_t index, double a);
/// The same for the variant that keeps the coefficients of the marginal ("CPS"): a share sin(level pi / 2) of the next
/// level's noise is drawn anew. Level 0 to 1.
SdeStep cps_step(const std::vector<float>& sigmas, int64_t index, double level);

/// Of x and velocity (B, ...), in fp32.
at::Tensor step_mean(const at::Tensor& x, const at::Tensor& velocity, const SdeStep& step);
/// mean + noise_std * noise.
at::Tensor step_next(const at::Tensor& mean, const at::Tensor& noise, const SdeStep& step);

/// Density of `next` under the step, elementwise; (B) when averaged over all but the batch, which is what ratios use.
/// Throws Failure(Internal) where a step has no noise: there is no density.
at::Tensor element_log_prob(const at::Tensor& next, const at::Tensor& mean, const SdeStep& step);
at::Tensor log_prob(const at::Tensor& next, const at::Tensor& mean, const SdeStep& step);
/// What flow_grpo uses as that with CPS: minus the mean square distance, without variance or constants.
at::Tensor cps_log_prob(const at::Tensor& next, const at::Tensor& mean);

enum class Divergence {
  Flow,   // over 2 sigma_t^2: leaves dt out on purpose, so that late steps weigh more
  Exact,  // over 2 noise_std^2: that of the two Gaussians
};
/// Kullback-Leibler divergence of two steps of equal variance, averaged over all but the batch: (B).
at::Tensor step_divergence(const at::Tensor& mean, const at::Tensor& reference, const SdeStep& step, Divergence kind);

}  // namespace drm
