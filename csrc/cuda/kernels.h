// Our CUDA kernels behind tensors. Each function returns false when there is no kernel for this call (a build without
// CUDA, see no_kernels.cc, or sizes it does not do), and the caller uses the composite form. They run on torch's
// current stream; a launch that fails throws Failure(Device). Shapes as in nn/fused.h.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace drm::cuda {

/// Whether this build has the kernels.
bool compiled();
/// What this build lacks of CUDA and what to do about it, or which versions differ (toolkit.cmake); else empty.
std::string note();

bool modulated_norm(const at::Tensor& x_BLD, const at::Tensor& shift_BD, const at::Tensor& scale_BD, at::Tensor& out);
bool gated_add(const at::Tensor& x_BLD, const at::Tensor& gate_BD, const at::Tensor& y_BLD, at::Tensor& out);
bool qk_norm(const at::Tensor& x_BLHK, const at::Tensor& weight_K, at::Tensor& out);
/// Tokens of one stream into a joint buffer: of out (B, L_all, H * K) rows `offset` ... offset + L are written.
struct HeadsPart {
  at::Tensor x_BLD, weight_K;  // an undefined weight: copied as it is
  at::Tensor out;
  int64_t offset = 0;
};
bool joint_heads(const std::vector<HeadsPart>& parts, int64_t heads);

/// Of guidance, of a step's mean (x and velocity), and of its noise.
struct BranchCoefficients {
  double scale, cx, cv, noise_std;
};
/// flow/branch.h has the meaning; `unconditional` may be undefined.
bool branch(const at::Tensor& x, const at::Tensor& unconditional, const at::Tensor& conditional,
            const BranchCoefficients& by, const at::Tensor& keys, int64_t step_index, at::Tensor& candidates);
/// flow/select.h has the meaning.
bool select(const at::Tensor& candidates, const at::Tensor& rewards, double temperature, const at::Tensor& uniforms,
            int64_t step_index, at::Tensor& unscored, at::Tensor& latents, at::Tensor& index);

}  // namespace drm::cuda
