// The walk over the denoising grid that sampling and rollouts share: at each step the policy's velocity, then the Euler
// step of the flow-matching ODE, or what a step with noise makes of it.
// Shapes: B images, latents (B, C, H, W) fp32.
#pragma once
#include <functional>

#include "common/control.h"
#include "flow/guided_velocity.h"
#include "flow/scheduler.h"

namespace drm {

/// The policy's velocities at a step of the grid.
using GuidedPolicy = std::function<GuidedVelocity(const at::Tensor& x, int64_t step)>;

struct Walk {
  /// Latents after a step with noise, or undefined for the Euler step. Absent: Euler steps alone.
  std::function<at::Tensor(const at::Tensor& x, const GuidedVelocity& velocity, int64_t step)> branch = {};
  /// Called before each step with its latents, and after it with the new ones.
  std::function<void(const at::Tensor& x, int64_t step)> before = {};
  std::function<void(const at::Tensor& x, const GuidedVelocity& velocity, int64_t step)> after = {};
};

/// Latents at the last level, from those at the first. Checks `control` before each step.
at::Tensor walk(const GuidedPolicy& policy, at::Tensor x, const Schedule& schedule, const Walk& steps,
                const Control& control);

}  // namespace drm
