// Branch and select on raw pointers (see modulation.h for why). Reference: namespace composite of flow/branch.h; the
// CPU twin is flow/branch_cpu.cc. Candidates are the same bits as theirs.
#pragma once
#include "modulation.h"

namespace drm::cuda {

struct BranchStep {
  float scale, cx, cv, noise_std;  // guidance, the mean's coefficients, the noise's deviation
  float log_constant;              // ln noise_std + ln(2 pi) / 2
  uint32_t index;                  // keys the noise, with `keys`
};

/// Floats that launch_branch() wants as scratch.
int64_t branch_scratch(int64_t batch, int64_t k, int64_t n);
/// candidates[b][j] = cx x[b] + cv (u[b] + scale (c[b] - u[b])) + noise_std * noise(keys[b], step, j), n values each;
/// log_prob[b][j] their mean log density. `e` is the dtype of u and c; u null: c alone. keys: (batch, 2), seed and
/// sample.
cudaError_t launch_branch(Element e, const float* x, const void* u, const void* c, const int64_t* keys,
                          const BranchStep& step, float* candidates, float* log_prob, float* scratch, int64_t batch,
                          int64_t k, int64_t n, cudaStream_t stream);
/// index[b]: greedy when temperature is 0, else drawn by uniforms[b]; next[b] = candidates[b][index[b]]. lost[b]
/// becomes `step` when all rewards are NaN and it was negative.
cudaError_t launch_select(const float* candidates, const float* rewards, double temperature, const float* uniforms,
                          int32_t step, int32_t* lost, int64_t* index, float* next, int64_t batch, int64_t k, int64_t n,
                          cudaStream_t stream);

}  // namespace drm::cuda
