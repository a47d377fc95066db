// Philox draws as tensors: row b of a result belongs to sample samples[b], whatever else is in the batch.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "random/philox.h"

namespace drm {

/// Standard normal numbers, fp32: (B, ...shape) on `device`. `draw.sample` is taken from `samples`.
at::Tensor draw_normal(Draw draw, const std::vector<int64_t>& samples, at::IntArrayRef shape, at::Device device);
/// One uniform number in (0, 1) a sample: (B), fp32.
at::Tensor draw_uniform(Draw draw, const std::vector<int64_t>& samples, at::Device device);

}  // namespace drm
