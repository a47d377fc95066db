// Time of each kind of kernel while some work runs, by libtorch's own profiler.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace drm {

struct ProfiledKernel {
  std::string name;  // as the compiler spells it, shortened
  int64_t calls = 0;
  double seconds = 0;
};

/// Kernels on a GPU, operators on a CPU, the longest first. `work` must wait for what it queued.
std::vector<ProfiledKernel> profile(at::Device device, const std::function<void()>& work);

}  // namespace drm
