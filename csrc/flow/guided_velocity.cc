#include "flow/guided_velocity.h"

#include <ATen/ATen.h>

#include "flow/scheduler.h"

namespace drm {

at::Tensor guided(const GuidedVelocity& v) {
  return v.unconditional.defined() ? guide(v.unconditional, v.conditional, v.scale) : v.conditional.to(at::kFloat);
}

}  // namespace drm
