// Checks branch.cu alone, without a model or libtorch: candidates must be the CPU's bits. One JSON line a case, with
// the memory rate beside that of a plain copy on the same device.
//   nvcc -std=c++20 -O3 -arch=sm_90 -Xcompiler -ffp-contract=off csrc/cuda/branch_check.cu csrc/cuda/branch.cu -o check
//   &&
//   ./check
// `--small` leaves the sizes of real models out. Exit status 1 when a result is wrong or a call fails.
#include <algorithm>
#include <array>
#include <cstring>

#include "../random/philox.h"
#include "branch.h"
#include "kernel_check.h"

using namespace drm;
using namespace drm::cuda;
using namespace drm::cuda::check;

namespace {

// A late step of the 50-step grid: noise small enough for rounding to show.
constexpr float kNoise = 0.21f;

BranchStep some_step() { return {4.5f, 0.93f, -0.31f, kNoise, 7}; }

/// Bytes a second of a copy of `bytes`, read and written.
double copy_rate(size_t bytes) {
  void *a = nullptr, *b = nullptr;
  must(cudaMalloc(&a, bytes), "cudaMalloc");
  must(cudaMalloc(&b, bytes), "cudaMalloc");
  const double ms = milliseconds([&] { return cudaMemcpyAsync(b, a, bytes, cudaMemcpyDeviceToDevice, nullptr); });
  cudaFree(a);
  cudaFree(b);
  return 2.0 * static_cast<double>(bytes) / ms * 1e-6;
}

template <class T>
void check_branch(Element e, int64_t batch, int64_t k, int64_t n, bool guided) {
  Buffer<float> x(batch * n, 1), candidates(batch * k * n);
  Buffer<T> u(batch * n, 2), c(batch * n, 3);
  Buffer<int64_t> keys(2 * batch);
  for (int64_t b = 0; b < batch; ++b) keys.host[2 * b] = 1000 + b, keys.host[2 * b + 1] = b;
  must(cudaMemcpy(keys.device, keys.host.data(), keys.host.size() * sizeof(int64_t), cudaMemcpyHostToDevice), "copy");
  const auto step = some_step();
  const auto launch = [&] {
    return launch_branch(e, x.device, guided ? u.device : nullptr, c.device, keys.device, step, candidates.device,
                         batch, k, n, nullptr);
  };
  const double ms = milliseconds(launch);
  candidates.fetch();

  int64_t different = 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t q = 0; q < k; ++q) {
      const Draw draw{static_cast<uint64_t>(keys.host[2 * b]), Purpose::Branch, step.index, static_cast<uint32_t>(b),
                      static_cast<uint32_t>(q)};
      for (int64_t i = 0; i < n; i += 4) {
        float noise[4];
        normals(draw, static_cast<uint32_t>(i / 4), noise);
        for (int64_t j = i; j < std::min(n, i + 4); ++j) {
          const auto at = b * n + j;
          const float along =
              guided ? widen(u.host[at]) + step.scale * (widen(c.host[at]) - widen(u.host[at])) : widen(c.host[at]);
          const float mean = step.cx * x.host[at] + step.cv * along, want = mean + step.noise_std * noise[j - i];
          const float got = candidates.host[(b * k + q) * n + j];
          different += std::memcmp(&got, &want, sizeof got) != 0;
        }
      }
    }
  const double bytes = static_cast<double>(batch * n) * (sizeof(float) * (1 + k) + sizeof(T) * (guided ? 2 : 1));
  const double rate = bytes / ms * 1e-6, copy = copy_rate(static_cast<size_t>(bytes / 2));
  const bool ok = different == 0;
  failures += !ok;
  std::printf(
      "{\"check\":\"branch\",\"dtype\":\"%s\",\"guided\":%s,\"batch\":%lld,\"k\":%lld,\"elements\":%lld,\"different_"
      "bits\":%lld,\"ms\":%.4f,\"gb_per_s\":%.1f,\"share_of_copy\":%.3f,\"ok\":"
      "%s}\n",
      sizeof(T) == 4 ? "fp32" : "bf16", guided ? "true" : "false", static_cast<long long>(batch),
      static_cast<long long>(k), static_cast<long long>(n), static_cast<long long>(different), ms, rate, rate / copy,
      ok ? "true" : "false");
}

}  // namespace

int main(int argc, char** argv) {
  const bool small = only_small(argc, argv);
  cudaDeviceProp device;
  must(cudaGetDeviceProperties(&device, 0), "find a GPU");
  std::printf("{\"device\":\"%s\"}\n", device.name);
  for (const auto& [batch, k, n] : {std::array<int64_t, 3>{1, 6, 16 * 64 * 64},
                                    {8, 6, 16 * 64 * 64},
                                    {4, 6, 16 * 128 * 128},
                                    {3, 2, 4 * 8 * 8},
                                    {2, 5, 1027}})
    for (const bool guided : {true, false}) {
      if (small && batch * k * n > 20000) continue;
      check_branch<float>(Element::Fp32, batch, k, n, guided);
      check_branch<__nv_bfloat16>(Element::Bf16, batch, k, n, guided);
    }
  return failures != 0;
}
