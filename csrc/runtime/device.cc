#include "runtime/device.h"

#include "common/failure.h"
#include "runtime/runtime.h"

namespace drm {

at::ScalarType parse_dtype(const std::string& name) {
  if (name == "fp32") return at::kFloat;
  if (name == "fp16") return at::kHalf;
  if (name == "bf16") return at::kBFloat16;
  throw Failure(Code::BadRequest, "[load] dtype: expected fp32, fp16 or bf16, found " + name);
}

bool cpu_multiplies(at::ScalarType dtype) {
  if (dtype == at::kFloat) return true;
#if defined(__x86_64__) && defined(__GNUC__)
  if (dtype == at::kBFloat16) return __builtin_cpu_supports("avx512bf16") != 0;
#endif
  return false;
}

at::Device parse_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  const bool cuda = name == "cuda" || (name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 9 &&
                                       name.find_first_not_of("0123456789", 5) == std::string::npos);
  if (!cuda) throw Failure(Code::Device, "[load] device: expected cpu, cuda or cuda:N, found " + name);
  const auto runtime = runtime_info();
  if (!runtime.cuda_built)
    throw Failure(Code::Device, "[load] device " + name + ": expected a libtorch with CUDA, found " + runtime.libtorch +
                                    " without; install a CUDA build of torch or point LIBTORCH to one and run `npm run "
                                    "setup`, or take --device cpu");
  if (!runtime.cuda_error.empty())
    throw Failure(Code::Device, "[load] device " + name + ": expected a GPU, found that " + runtime.cuda_error +
                                    "; `drm doctor` says more, --device cpu always works");
  const auto index = name == "cuda" ? 0 : std::stoi(name.substr(5));
  if (index >= static_cast<int>(runtime.gpus.size()))
    throw Failure(Code::Device, "[load] device " + name + ": expected a GPU of that number, found " +
                                    std::to_string(runtime.gpus.size()) +
                                    "; `drm doctor` lists devices, --device cpu always works");
  return {at::kCUDA, static_cast<at::DeviceIndex>(index)};
}

}  // namespace drm
