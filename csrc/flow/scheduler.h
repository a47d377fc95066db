// Flow-matching Euler scheduler (reference: diffusers' FlowMatchEulerDiscreteScheduler). Sigma is the noise level in
// [0, 1] with x_t = (1 - sigma) x_0 + sigma noise (Eq. 1); the timestep is 1000 sigma.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace drm {

struct SchedulerConfig {
  int64_t num_train_timesteps = 1000;
  double shift = 3.0;
};

/// The shift of a noise level towards noise (Esser et al. 2024, Eq. 23): of floats, doubles and tensors, in their own
/// precision.
template <class Level, class Shift>
Level shifted(const Level& u, Shift shift) {
  return shift * u / (1 + (shift - 1) * u);
}

/// Reads scheduler_config.json, or gives SD3's defaults for an empty path; refuses other scheduler classes and options
/// that change the numbers (dynamic shifting, Karras, exponential or beta sigmas, inverted sigmas, terminal shift,
/// stochastic sampling). Throws Failure(BadConfig).
SchedulerConfig read_scheduler_config(const std::string& path);

struct Schedule {
  std::vector<float> sigmas;     // n + 1 values, from 1 down, the last is 0
  std::vector<float> timesteps;  // n values, sigmas * 1000 (num_train_timesteps) in fp32
};

/// The sampling grid of n steps. The shift acts twice on its low end, as in the reference: the smallest sigma that the
/// levels are spaced to is itself shifted. Throws Failure(BadRequest) for n < 1.
Schedule sampling_schedule(const SchedulerConfig& config, int64_t steps);
/// The descending table of num_train_timesteps levels that training draws from; no 0 at the end.
Schedule training_schedule(const SchedulerConfig& config);

/// x + (sigma_next - sigma) * velocity, in fp32.
at::Tensor euler_step(const at::Tensor& x, const at::Tensor& velocity, float sigma, float sigma_next);
/// Eq. 1, in fp32: sigma (B) is broadcast over x_0 (B, ...).
at::Tensor add_noise(const at::Tensor& x_0, const at::Tensor& noise, const at::Tensor& sigma);
/// Classifier-free guidance in fp32: unconditional + scale * (conditional - unconditional).
at::Tensor guide(const at::Tensor& unconditional, const at::Tensor& conditional, double scale);

}  // namespace drm
