// Linked instead of launch.cc by a build without our kernels: libtorch may have CUDA all the same.
#include "cuda/kernels.h"
#include "cuda_note.h"  // written by csrc/CMakeLists.txt

namespace drm::cuda {

bool compiled() { return false; }
std::string note() { return DRM_CUDA_NOTE; }
bool modulated_norm(const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&) { return false; }
bool gated_add(const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&) { return false; }
bool qk_norm(const at::Tensor&, const at::Tensor&, at::Tensor&) { return false; }
bool joint_heads(const std::vector<HeadsPart>&, int64_t) { return false; }
bool branch(const at::Tensor&, const at::Tensor&, const at::Tensor&, const BranchCoefficients&, const at::Tensor&,
            int64_t, at::Tensor&) {
  return false;
}
bool select(const at::Tensor&, const at::Tensor&, double, const at::Tensor&, int64_t, at::Tensor&, at::Tensor&,
            at::Tensor&) {
  return false;
}

}  // namespace drm::cuda
