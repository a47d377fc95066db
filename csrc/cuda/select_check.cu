// Checks select.cu alone, without a model or libtorch: choices must be exact. One JSON line a case.
//   nvcc -std=c++20 -O3 -arch=sm_90 csrc/cuda/select_check.cu csrc/cuda/select.cu -o check && ./check
// `--small` leaves the sizes of real models out. Exit status 1 when a result is wrong or a call fails.
#include <array>
#include <cstring>
#include <limits>

#include "kernel_check.h"
#include "select.h"

using namespace drm::cuda;
using namespace drm::cuda::check;

namespace {

void check_select(int64_t n) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
  // Ties, NaN beside -inf, all NaN, +inf twice, all -inf; what is greedily chosen, and by u = 0.6 at temperature 1.
  struct Row {
    std::array<float, 4> rewards;
    int64_t greedy, soft;
  };
  const std::vector<Row> rows = {{{1, 3, 3, 2}, 1, 2},
                                 {{kNan, -kInf, kNan, -kInf}, 1, 3},
                                 {{kNan, kNan, kNan, kNan}, 0, 2},
                                 {{0, kInf, kInf, 5}, 1, 2},
                                 {{-kInf, -kInf, -kInf, kNan}, 0, 1}};
  const auto batch = static_cast<int64_t>(rows.size());
  Buffer<float> candidates(batch * 4 * n, 5), rewards(batch * 4), uniforms(batch), next(batch * n);
  Buffer<int32_t> unscored(batch);
  Buffer<int64_t> index(batch);
  for (int64_t b = 0; b < batch; ++b) {
    for (int q = 0; q < 4; ++q) rewards.host[b * 4 + q] = rows[b].rewards[q];
    uniforms.host[b] = 0.6f;
  }
  cudaMemcpy(rewards.device, rewards.host.data(), rewards.host.size() * sizeof(float), cudaMemcpyHostToDevice);
  cudaMemcpy(uniforms.device, uniforms.host.data(), uniforms.host.size() * sizeof(float), cudaMemcpyHostToDevice);
  for (const double temperature : {0.0, 1.0}) {
    cudaMemset(unscored.device, 0xff, batch * sizeof(int32_t));
    must(launch_select(candidates.device, rewards.device, temperature, uniforms.device, 3, unscored.device,
                       index.device, next.device, batch, 4, n, nullptr),
         "launch");
    next.fetch(), index.fetch(), unscored.fetch();
    bool ok = true;
    for (int64_t b = 0; b < batch; ++b) {
      const auto want = temperature > 0 ? rows[b].soft : rows[b].greedy;
      ok = ok && index.host[b] == want && unscored.host[b] == (b == 2 ? 3 : -1) &&
           !std::memcmp(&next.host[b * n], &candidates.host[(b * 4 + want) * n], n * sizeof(float));
    }
    failures += !ok;
    std::printf("{\"check\":\"select\",\"temperature\":%.1f,\"elements\":%lld,\"ok\":%s}\n", temperature,
                static_cast<long long>(n), ok ? "true" : "false");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool small = only_small(argc, argv);
  for (const int64_t n : {16 * 64 * 64, 1027})
    if (!small || n < 20000) check_select(n);
  return failures != 0;
}
