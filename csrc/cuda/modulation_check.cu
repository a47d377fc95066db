// Checks the kernels of modulation.cu alone, without a model or libtorch: compares each with a plain loop in double
// precision on the CPU and prints one JSON line a case with the worst error and the memory rate.
//   nvcc -std=c++20 -O3 -arch=sm_90 -I csrc/cuda csrc/cuda/modulation_check.cu csrc/cuda/modulation.cu -o check &&
//   ./check
// `--small` leaves the sizes of real models out. Exit status 1 when an error exceeds its bound or a call fails.
#include <cuda_bf16.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernel_check.h"
#include "modulation.h"

using namespace drm::cuda;
using namespace drm::cuda::check;

namespace {

template <class T>
void compare(const char* kernel, Buffer<T>& out, const std::function<double(size_t)>& expected, double bytes,
             const std::function<cudaError_t()>& launch) {
  const double ms = milliseconds(launch);
  out.fetch();
  double worst = 0;
  for (size_t i = 0; i < out.host.size(); i += 1 + out.host.size() / 200000) {
    const double want = expected(i), error = std::abs(out[i] - want) / std::max(1.0, std::abs(want));
    worst = error > worst || std::isnan(error) ? error : worst;
  }
  const double bound = sizeof(T) == 4 ? 2e-5 : 8e-3;  // bf16 keeps 8 bits
  const bool ok = worst <= bound;
  failures += !ok;
  std::printf(
      "{\"check\":\"%s\",\"dtype\":\"%s\",\"elements\":%zu,\"worst_error\":%.3g,\"bound\":%.3g,\"ms\":%.4f,\"gb_per_"
      "s\":%.1f,\"ok\":%s}\n",
      kernel, sizeof(T) == 4 ? "fp32" : "bf16", out.host.size(), worst, bound, ms, bytes / ms * 1e-6,
      ok ? "true" : "false");
}

template <class T>
void check_sizes(Element e, int64_t batch, int64_t length, int64_t d, int64_t k) {
  const int64_t rows = batch * length, n = rows * d, stride = 9 * d;
  Buffer<T> x(n, 1), y(n, 2), modulation(batch * stride, 3), weight(k, 4), out(n);
  const T *shift = modulation.device, *scale = modulation.device + d, *gate = modulation.device + 2 * d;
  const double bytes = static_cast<double>(n) * sizeof(T);

  std::vector<double> mean(rows), inverse(rows);
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < d; ++i) sum += x[r * d + i];
    mean[r] = sum / d;
    for (int64_t i = 0; i < d; ++i) squares += (x[r * d + i] - mean[r]) * (x[r * d + i] - mean[r]);
    inverse[r] = 1 / std::sqrt(squares / d + 1e-6);
  }
  const auto of = [&](size_t i, int64_t part) { return modulation[i / d / length * stride + part * d + i % d]; };
  compare<T>(
      "modulated_norm", out,
      [&](size_t i) { return (x[i] - mean[i / d]) * inverse[i / d] * (1 + of(i, 1)) + of(i, 0); }, 2 * bytes,
      [&] {
        return launch_modulated_norm(e, x.device, shift, scale, out.device, rows, length, d, stride, stride, nullptr);
      });
  compare<T>(
      "gated_add", out, [&](size_t i) { return x[i] + of(i, 2) * y[i]; }, 3 * bytes,
      [&] { return launch_gated_add(e, x.device, gate, y.device, out.device, rows, length, d, stride, nullptr); });
  compare<T>(
      "qk_norm", out,
      [&](size_t i) {
        double squares = 0;
        for (int64_t c = 0; c < k; ++c) squares += x[i / k * k + c] * x[i / k * k + c];
        return x[i] / std::sqrt(squares / k + 1e-6) * weight[i % k];
      },
      2 * bytes, [&] { return launch_qk_norm(e, x.device, weight.device, out.device, n / k, k, nullptr); });
  if (const auto lanes = k * sizeof(T) / 16; k * sizeof(T) % 16 || (lanes & (lanes - 1))) return;  // not this kernel's
  // Rows of a wider buffer, behind five tokens of another stream; the third part is copied as it is.
  const int64_t before = 5, out_length = length + before;
  Buffer<T> wide(rows * 3 * d, 5), joint(3 * batch * out_length * d);
  JointHeads heads;
  for (int64_t p = 0; p < 3; ++p)
    heads.parts[heads.count++] = {
        wide.device + p * d, 3 * d, p < 2 ? weight.device : nullptr, joint.device + p * batch * out_length * d,
        out_length,          before};
  compare<T>(
      "joint_heads", joint,
      [&](size_t i) {
        const int64_t row = i / d, part = row / (batch * out_length), b = row / out_length % batch,
                      t = row % out_length - before;
        if (t < 0) return 0.0;
        const int64_t at = (b * length + t) * 3 * d + part * d + i % d;
        if (part == 2) return wide[at];
        double squares = 0;
        for (int64_t c = 0; c < k; ++c) squares += wide[at / k * k + c] * wide[at / k * k + c];
        return wide[at] / std::sqrt(squares / k + 1e-6) * weight[i % k];
      },
      6 * bytes, [&] { return launch_joint_heads(e, heads, batch, length, d, k, nullptr); });
}

}  // namespace

int main(int argc, char** argv) {
  const bool small = only_small(argc, argv);
  cudaDeviceProp device;
  must(cudaGetDeviceProperties(&device, 0), "find a GPU");
  std::printf("{\"device\":\"%s\"}\n", device.name);
  for (const auto& [batch, length, d, k] : {std::array<int64_t, 4>{2, 1024, 1536, 64},
                                            {12, 1357, 1536, 64},
                                            {2, 4096, 2432, 64},
                                            {3, 7, 96, 24},
                                            {1, 1, 33, 11}}) {
    if (small && batch * length * d > 20000) continue;
    check_sizes<float>(Element::Fp32, batch, length, d, k);
    check_sizes<__nv_bfloat16>(Element::Bf16, batch, length, d, k);
  }
  return failures != 0;
}
