// Which noise levels a model is trained at: the distribution of a uniform number's image, over the scheduler's table.
#pragma once
#include <ATen/core/Tensor.h>

#include "flow/scheduler.h"

namespace drm {

struct TimestepDistribution {
  bool logit_normal = true;        // u becomes sigmoid(mean + deviation * normal quantile of u) (Esser et al. 2024)
  double mean = 0, deviation = 1;  // of the logit
};

/// Uniform numbers in (0, 1) -> numbers in (0, 1) of this distribution, in fp64.
at::Tensor distribute(const TimestepDistribution& d, const at::Tensor& uniform);

/// A batch's noise levels, (B) fp32 each.
struct NoiseLevels {
  at::Tensor sigma, timestep;
};
/// Entries floor(n * t) of the descending table (the authors' rule: 0 is the noisiest), t in (0, 1) of shape (B).
NoiseLevels look_up_levels(const Schedule& table, const at::Tensor& t);

}  // namespace drm
