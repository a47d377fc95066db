#include "runtime/runtime.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/headeronly/version.h>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "common/failure.h"
#include "cuda/kernels.h"
#include "runtime/gpus.h"

namespace drm {
namespace {

std::string blas_libraries() {
  std::string names;
  const auto add = [&](const std::string& name) { names += (names.empty() ? "" : ", ") + name; };
  if (at::hasMKL()) add(at::get_mkl_version());
  if (at::hasMKLDNN()) add(at::get_mkldnn_version());
  if (!at::hasMKL() && at::hasLAPACK()) add("another BLAS with LAPACK");
  return names;
}

/// What scaled_dot_product_attention may choose from; which one it takes depends on dtype, mask and head size.
std::string attention_kernels(bool cuda) {
  const auto& context = at::globalContext();
  std::string names;
  const auto add = [&](bool on, const char* name) {
    if (on) names += (names.empty() ? "" : ", ") + std::string(name);
  };
  add(context.userEnabledFlashSDP(), "flash");
  if (cuda) {
    add(context.userEnabledMemEfficientSDP(), "memory-efficient");
    add(context.userEnabledCuDNNSDP(), "cuDNN");
  }
  add(context.userEnabledMathSDP(), "math");
  return names;
}

std::string cuda_version(int64_t number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

/// libtorch says no more than that it found no GPU; the usual reason is a driver older than its CUDA.
std::string cannot_use_the_gpu(int64_t driver) {
  const int64_t wanted = at::detail::getCUDAHooks().versionCUDART();
  if (driver > 0 && driver / 1000 < wanted / 1000)
    return "the NVIDIA driver is of CUDA " + cuda_version(driver) + ", libtorch needs one of CUDA " +
           cuda_version(wanted / 1000 * 1000) + " or newer";
  return "libtorch (CUDA " + cuda_version(wanted) + ") cannot use the GPU that the driver shows (CUDA " +
         cuda_version(driver) + ")";
}

/// AVX512-BF16 or AMX on x86, FEAT_BF16 on ARM.
bool multiplies_bf16() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16");  // every CPU with AMX has it, too
#elif defined(__aarch64__) && defined(__linux__) && defined(HWCAP2_BF16)
  return (getauxval(AT_HWCAP2) & HWCAP2_BF16) != 0;
#else
  return false;
#endif
}

}  // namespace

RuntimeInfo runtime_info() {
  RuntimeInfo info;
  info.libtorch = TORCH_VERSION;
  info.cpu_capability = at::get_cpu_capability();
  info.blas = blas_libraries();
  info.threads = at::get_num_threads();
  info.cpu_bf16 = multiplies_bf16();
  info.cuda_built = at::globalContext().hasCUDART();
  const bool cuda_usable = at::hasCUDA();
  info.attention = attention_kernels(cuda_usable);
  info.cuda_kernels = cuda::compiled();
  auto list = list_gpus();
  info.gpus = std::move(list.gpus);
  info.cuda_note = cuda::note();
  if (!list.error.empty())
    info.cuda_error = list.error;
  else if (!info.cuda_built)
    info.cuda_error = "this libtorch (" + info.libtorch + ") has no CUDA";
  else if (!cuda_usable)
    info.cuda_error = cannot_use_the_gpu(list.cuda_version);
  return info;
}

void set_threads(int64_t n) {
  if (n < 1 || n > 4096)
    throw Failure(Code::BadRequest, "[threads] expected a number from 1 to 4096, found " + std::to_string(n));
  at::set_num_threads(static_cast<int>(n));
}

}  // namespace drm
