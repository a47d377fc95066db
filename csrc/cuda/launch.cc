// From tensors to launches. Built where libtorch has CUDA and nvcc is at hand; no_kernels.cc stands in elsewhere.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <string>

#include "common/failure.h"
#include "cuda/branch.h"
#include "cuda/kernels.h"
#include "cuda/modulation.h"
#include "cuda/select.h"
#include "cuda_note.h"  // written by csrc/CMakeLists.txt

namespace drm::cuda {
namespace {

// A row of modulated_norm lies in shared memory in fp32; 48 KiB is what every card gives without asking.
constexpr int64_t kLongestRow = 48 * 1024 / sizeof(float) - 64;
// Rows are a grid's second axis.
constexpr int64_t kMostRows = 65535;

Element element(const at::Tensor& t) { return t.scalar_type() == at::kFloat ? Element::Fp32 : Element::Bf16; }

/// Whether the kernel was launched; not on a GPU older than those it was compiled for. Throws Failure(Device).
bool launched(cudaError_t e, const char* kernel) {
  if (e == cudaSuccess) return true;
  cudaGetLastError();  // or the next call of libtorch's would report it
  if (e == cudaErrorNoKernelImageForDevice) return false;
  throw Failure(Code::Device,
                std::string("[") + kernel + "] the kernel could not be launched: " + cudaGetErrorString(e));
}

}  // namespace

bool compiled() { return true; }
std::string note() { return DRM_CUDA_NOTE; }

bool modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, at::Tensor& out) {
  if (x.size(2) > kLongestRow) return false;
  const c10::cuda::CUDAGuard guard(x.device());
  return launched(launch_modulated_norm(element(x), x.const_data_ptr(), shift.const_data_ptr(), scale.const_data_ptr(),
                                        out.mutable_data_ptr(), x.size(0) * x.size(1), x.size(1), x.size(2),
                                        shift.stride(0), scale.stride(0), c10::cuda::getCurrentCUDAStream()),
                  "modulated_norm");
}

bool gated_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y, at::Tensor& out) {
  const c10::cuda::CUDAGuard guard(x.device());
  return launched(launch_gated_add(element(x), x.const_data_ptr(), gate.const_data_ptr(), y.const_data_ptr(),
                                   out.mutable_data_ptr(), x.size(0) * x.size(1), x.size(1), x.size(2), gate.stride(0),
                                   c10::cuda::getCurrentCUDAStream()),
                  "gated_add");
}

bool qk_norm(const at::Tensor& x, const at::Tensor& weight, at::Tensor& out) {
  const c10::cuda::CUDAGuard guard(x.device());
  return launched(launch_qk_norm(element(x), x.const_data_ptr(), weight.const_data_ptr(), out.mutable_data_ptr(),
                                 x.size(0) * x.size(1) * x.size(2), x.size(3), c10::cuda::getCurrentCUDAStream()),
                  "qk_norm");
}

bool joint_heads(const std::vector<HeadsPart>& parts, int64_t heads) {
  JointHeads of;
  for (const auto& p : parts)
    of.parts[of.count++] = {
        p.x_BLD.const_data_ptr(), p.x_BLD.stride(1), p.weight_K.defined() ? p.weight_K.const_data_ptr() : nullptr,
        p.out.mutable_data_ptr(), p.out.size(1),     p.offset};
  const auto& x = parts.front().x_BLD;
  const c10::cuda::CUDAGuard guard(x.device());
  const auto result = launch_joint_heads(element(x), of, x.size(0), x.size(1), x.size(2), x.size(2) / heads,
                                         c10::cuda::getCurrentCUDAStream());
  return result != cudaErrorNotSupported && launched(result, "joint_heads");
}

bool branch(const at::Tensor& x, const at::Tensor& unconditional, const at::Tensor& conditional,
            const BranchCoefficients& by, const at::Tensor& keys, int64_t step_index, at::Tensor& candidates) {
  const auto batch = x.size(0), k = candidates.size(1);
  if (batch > kMostRows) return false;
  const c10::cuda::CUDAGuard guard(x.device());
  const BranchStep step{static_cast<float>(by.scale), static_cast<float>(by.cx), static_cast<float>(by.cv),
                        static_cast<float>(by.noise_std), static_cast<uint32_t>(step_index)};
  return launched(
      launch_branch(element(conditional), x.const_data_ptr<float>(),
                    unconditional.defined() ? unconditional.const_data_ptr() : nullptr, conditional.const_data_ptr(),
                    keys.const_data_ptr<int64_t>(), step, candidates.mutable_data_ptr<float>(), batch, k,
                    batch ? x.numel() / batch : 0, c10::cuda::getCurrentCUDAStream()),
      "branch");
}

bool select(const at::Tensor& candidates, const at::Tensor& rewards, double temperature, const at::Tensor& uniforms,
            int64_t step_index, at::Tensor& unscored, at::Tensor& latents, at::Tensor& index) {
  const auto batch = candidates.size(0), k = candidates.size(1);
  if (batch > kMostRows) return false;
  const c10::cuda::CUDAGuard guard(candidates.device());
  return launched(launch_select(candidates.const_data_ptr<float>(), rewards.const_data_ptr<float>(), temperature,
                                uniforms.defined() ? uniforms.const_data_ptr<float>() : nullptr,
                                static_cast<int32_t>(step_index), unscored.mutable_data_ptr<int32_t>(),
                                index.mutable_data_ptr<int64_t>(), latents.mutable_data_ptr<float>(), batch, k,
                                batch ? candidates.numel() / (batch * k) : 0, c10::cuda::getCurrentCUDAStream()),
                  "select");
}

}  // namespace drm::cuda
