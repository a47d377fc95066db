// What the programs that check kernels alone share (*_check.cu): buffers, timing, a count of failures.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

namespace drm::cuda::check {

inline int failures = 0;
inline int timed_runs = 50;

/// Whether `--small` asks for the small sizes alone, run once: under compute-sanitizer the others take minutes.
inline bool only_small(int argc, char** argv) {
  const bool asked = argc > 1 && std::string_view(argv[1]) == "--small";
  if (asked) timed_runs = 1;
  return asked;
}

/// Ends the program when a call failed.
inline void must(cudaError_t e, const char* what) {
  if (e == cudaSuccess) return;
  std::printf("{\"check\":\"%s\",\"error\":\"%s\"}\n", what, cudaGetErrorString(e));
  std::exit(1);
}

template <class T>
float widen(T v);
template <>
inline float widen(float v) {
  return v;
}
template <>
inline float widen(__nv_bfloat16 v) {
  return __bfloat162float(v);
}

/// n values here and on the device: normal numbers of a seed, zeros without one.
template <class T>
struct Buffer {
  std::vector<T> host;
  T* device = nullptr;
  explicit Buffer(size_t n, unsigned seed = 0) : host(n) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (auto& v : host) v = T(seed ? normal(generator) : 0.0f);
    must(cudaMalloc(&device, n * sizeof(T)), "cudaMalloc");
    must(cudaMemcpy(device, host.data(), n * sizeof(T), cudaMemcpyHostToDevice), "copy to the device");
  }
  ~Buffer() { cudaFree(device); }
  void fetch() {
    must(cudaMemcpy(host.data(), device, host.size() * sizeof(T), cudaMemcpyDeviceToHost), "copy from the device");
  }
  double operator[](size_t i) const { return widen(host[i]); }
};

/// Mean of timed_runs after three.
inline double milliseconds(const std::function<cudaError_t()>& launch) {
  cudaEvent_t start, stop;
  cudaEventCreate(&start);
  cudaEventCreate(&stop);
  for (int i = 0; i < 3; ++i) must(launch(), "launch");
  cudaEventRecord(start);
  for (int i = 0; i < timed_runs; ++i) launch();
  cudaEventRecord(stop);
  must(cudaEventSynchronize(stop), "run");
  float ms = 0;
  cudaEventElapsedTime(&ms, start, stop);
  return ms / timed_runs;
}

}  // namespace drm::cuda::check
