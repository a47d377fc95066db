#include "flow/walk.h"

#include <ATen/ATen.h>

namespace drm {

at::Tensor walk(const GuidedPolicy& policy, at::Tensor x, const Schedule& schedule, const Walk& steps,
                const Control& control) {
  const auto n = static_cast<int64_t>(schedule.timesteps.size());
  for (int64_t i = 0; i < n; ++i) {
    control.check();
    if (steps.before) steps.before(x, i);
    const auto velocity = policy(x, i);
    auto next = steps.branch ? steps.branch(x, velocity, i) : at::Tensor();
    const auto at = static_cast<size_t>(i);
    x = next.defined() ? std::move(next)
                       : euler_step(x, guided(velocity), schedule.sigmas[at], schedule.sigmas[at + 1]);
    if (steps.after) steps.after(x, velocity, i);
  }
  return x;
}

}  // namespace drm
