// What this build of libtorch runs on. No torch header here.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace drm {

/// For `drm doctor`: what this build runs on. No failure: what cannot be told is empty.
struct RuntimeInfo {
  std::string libtorch, cpu_capability, blas, attention;
  int64_t threads = 0;
  bool cpu_bf16 = false;      // the CPU multiplies bf16 at once; without, oneDNN widens it, six to eight times slower
  bool cuda_built = false;    // libtorch has CUDA
  bool cuda_kernels = false;  // our kernels are linked in
  struct Gpu {
    std::string name;
    std::string capability;
    int64_t total_bytes = 0, free_bytes = 0;
  };
  std::vector<Gpu> gpus;
  std::string cuda_error;  // why no GPU can be used; empty when one can
  std::string cuda_note;   // of a build for CUDA: what it lacks and what to do, or which versions differ
};
RuntimeInfo runtime_info();
void set_threads(int64_t n);

}  // namespace drm
