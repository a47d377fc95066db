// From tensors to launches. Built only where libtorch has CUDA; no_cuda.cc stands in elsewhere.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <string>

#include "common/failure.h"
#include "cuda/kernels.h"
#include "cuda/modulation.h"

namespace drm::cuda {
namespace {

// A row of modulated_norm lies in shared memory in fp32; 48 KiB is what every card gives without asking.
constexpr int64_t kLongestRow = 48 * 1024 / sizeof(float) - 64;

Element element(const at::Tensor& t) { return t.scalar_type() == at::kFloat ? Element::Fp32 : Element::Bf16; }

void require(cudaError_t e, const char* kernel) {
  if (e != cudaSuccess)
    throw Failure(Code::Device,
                  std::string("[") + kernel + "] the kernel could not be launched: " + cudaGetErrorString(e));
}

}  // namespace

bool compiled() { return true; }

bool modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, at::Tensor& out) {
  if (x.size(2) > kLongestRow) return false;
  const c10::cuda::CUDAGuard guard(x.device());
  require(launch_modulated_norm(element(x), x.const_data_ptr(), shift.const_data_ptr(), scale.const_data_ptr(),
                                out.mutable_data_ptr(), x.size(0) * x.size(1), x.size(1), x.size(2), shift.stride(0),
                                scale.stride(0), c10::cuda::getCurrentCUDAStream()),
          "modulated_norm");
  return true;
}

bool gated_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y, at::Tensor& out) {
  const c10::cuda::CUDAGuard guard(x.device());
  require(launch_gated_add(element(x), x.const_data_ptr(), gate.const_data_ptr(), y.const_data_ptr(),
                           out.mutable_data_ptr(), x.size(0) * x.size(1), x.size(1), x.size(2), gate.stride(0),
                           c10::cuda::getCurrentCUDAStream()),
          "gated_add");
  return true;
}

bool qk_norm(const at::Tensor& x, const at::Tensor& weight, at::Tensor& out) {
  const c10::cuda::CUDAGuard guard(x.device());
  require(launch_qk_norm(element(x), x.const_data_ptr(), weight.const_data_ptr(), out.mutable_data_ptr(),
                         x.size(0) * x.size(1) * x.size(2), x.size(3), c10::cuda::getCurrentCUDAStream()),
          "qk_norm");
  return true;
}

}  // namespace drm::cuda
