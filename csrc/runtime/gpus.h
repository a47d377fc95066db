// The machine's NVIDIA GPUs, asked of the driver itself. Headers of CUDA are not needed, no CUDA context is created
// (one takes 0.3 s and some 300 MB of GPU memory), and it works with a libtorch that has no CUDA, too.
#pragma once
#include <string>
#include <vector>

#include "runtime/runtime.h"

namespace drm {

struct GpuList {
  std::vector<RuntimeInfo::Gpu> gpus;  // in CUDA's order, CUDA_VISIBLE_DEVICES respected
  std::string error;                   // why there are none; empty when there are some
  int cuda_version = 0;                // the newest that the driver knows, 13000 for 13.0; 0 when it does not say
};

GpuList list_gpus();

}  // namespace drm
