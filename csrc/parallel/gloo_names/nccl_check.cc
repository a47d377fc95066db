// Whether a process group of NCCL compiles with this libtorch and the CUDA headers at hand; see csrc/CMakeLists.txt.
#define USE_C10D_GLOO 1
#define USE_C10D_NCCL 1
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

int drm_nccl_check(const c10::intrusive_ptr<c10d::Store>& store) {
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, 0, 1, c10d::ProcessGroupNCCL::Options::create())->getRank();
}
