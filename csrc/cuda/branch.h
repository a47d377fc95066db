// Branching on raw pointers (see modulation.h for why). Reference: namespace composite of flow/branch.h; the CPU twin
// is flow/branch_cpu.cc. Candidates are the same bits as theirs.
#pragma once
#include "modulation.h"

namespace drm::cuda {

struct BranchStep {
  float scale, cx, cv, noise_std;  // guidance, the mean's coefficients, the noise's deviation
  uint32_t index;                  // keys the noise, with `keys`
};

/// candidates[b][j] = cx x[b] + cv (u[b] + scale (c[b] - u[b])) + noise_std * noise(keys[b], step, j), n values each.
/// `e` is the dtype of u and c; u null: c alone. keys: (batch, 2), seed and sample.
cudaError_t launch_branch(Element e, const float* x, const void* u, const void* c, const int64_t* keys,
                          const BranchStep& step, float* candidates, int64_t batch, int64_t k, int64_t n,
                          cudaStream_t stream);

}  // namespace drm::cuda
