// Philox draws as tensors: row b of a result belongs to sample samples[b], whatever else is in the batch.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "random/philox.h"

namespace drm {

/// Standard normal numbers, fp32: (B, ...shape) on `device`. `draw.sample` is taken from `samples`.
at::Tensor draw_normal(Draw draw, const std::vector<int64_t>& samples, at::IntArrayRef shape, at::Device device);
/// Uniform numbers in (0, 1), fp32: (B, ...shape) on `device`; with no shape (B), one a sample.
at::Tensor draw_uniform(Draw draw, const std::vector<int64_t>& samples, at::Device device, at::IntArrayRef shape = {});

}  // namespace drm
