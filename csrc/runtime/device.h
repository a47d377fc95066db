// The names that users give to devices and dtypes.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace drm {

/// "fp32", "fp16", "bf16". Throws Failure(BadRequest).
at::ScalarType parse_dtype(const std::string& name);
/// Whether this CPU multiplies numbers of that dtype itself. Where it does not, libtorch emulates 16 bits, and fp32 is
/// several times as fast.
bool cpu_multiplies(at::ScalarType dtype);
/// "cpu", "cuda", "cuda:N", and that there is such a GPU. Throws Failure(Device).
at::Device parse_device(const std::string& name);

}  // namespace drm
