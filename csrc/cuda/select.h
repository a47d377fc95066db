// Selecting on raw pointers (see modulation.h for why). Reference: namespace composite of flow/select.h; the CPU twin
// is flow/select_cpu.cc.
#pragma once
#include "modulation.h"

namespace drm::cuda {

/// index[b]: greedy when temperature is 0, else drawn by uniforms[b]; next[b] = candidates[b][index[b]]. unscored[b]
/// becomes `step` when all rewards are NaN and it was negative.
cudaError_t launch_select(const float* candidates, const float* rewards, double temperature, const float* uniforms,
                          int32_t step, int32_t* unscored, int64_t* index, float* next, int64_t batch, int64_t k,
                          int64_t n, cudaStream_t stream);

}  // namespace drm::cuda
