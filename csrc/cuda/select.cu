#include "select.h"

namespace drm::cuda {
namespace {

constexpr int kThreads = 256;                // four elements a thread
constexpr int64_t kElements = 4 * kThreads;  // of a block

__device__ int64_t greedy(const float* r, int64_t k) {
  int64_t best = -1;
  for (int64_t i = 0; i < k; ++i)
    if (!isnan(r[i]) && (best < 0 || r[i] > r[best])) best = i;
  return best;
}

/// Weight of a candidate in the soft choice; `best` is the greedy choice, -1 when all are NaN.
__device__ double weight(const float* r, int64_t i, int64_t best, double temperature) {
  if (best < 0) return 1;
  if (isnan(r[i])) return 0;
  if (isinf(r[best])) return r[i] == r[best] ? 1 : 0;
  return exp((static_cast<double>(r[i]) - r[best]) / temperature);
}

__device__ int64_t drawn(const float* r, int64_t k, int64_t best, double temperature, double uniform) {
  double total = 0, reached = 0;
  for (int64_t i = 0; i < k; ++i) total += weight(r, i, best, temperature);
  int64_t last = 0;
  for (int64_t i = 0; i < k; ++i) {
    const double p = weight(r, i, best, temperature) / total;
    if (!(p > 0)) continue;
    reached += p;
    last = i;
    if (reached > uniform) break;
  }
  return last;
}

// Every block finds the choice itself: k numbers from the cache, against a launch and a wait for one that does it for
// all.
__global__ void select(const float* candidates, const float* rewards, double temperature, const float* uniforms,
                       int32_t step, int32_t* unscored, int64_t* index, float* next, int64_t k, int64_t n) {
  __shared__ int64_t choice;
  const int64_t b = blockIdx.y;
  if (threadIdx.x == 0) {
    const float* r = rewards + b * k;
    int64_t best = greedy(r, k);
    const bool none = best < 0;
    if (temperature > 0) best = drawn(r, k, best, temperature, uniforms[b]);
    choice = best < 0 ? 0 : best;
    if (blockIdx.x == 0) {
      index[b] = choice;
      if (none && unscored[b] < 0) unscored[b] = step;
    }
  }
  __syncthreads();
  const float* from = candidates + (b * k + choice) * n;
  const int64_t i = blockIdx.x * kElements + 4 * threadIdx.x;
  if (i >= n) return;
  if (n % 4 == 0)
    *reinterpret_cast<float4*>(next + b * n + i) = *reinterpret_cast<const float4*>(from + i);
  else
    for (int64_t j = i; j < i + 4 && j < n; ++j) next[b * n + j] = from[j];
}

int64_t blocks_of(int64_t n) { return (n + kElements - 1) / kElements; }

}  // namespace

cudaError_t launch_select(const float* candidates, const float* rewards, double temperature, const float* uniforms,
                          int32_t step, int32_t* unscored, int64_t* index, float* next, int64_t batch, int64_t k,
                          int64_t n, cudaStream_t stream) {
  if (batch == 0 || k == 0 || n == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(blocks_of(n)), static_cast<unsigned>(batch));
  select<<<grid, kThreads, 0, stream>>>(candidates, rewards, temperature, uniforms, step, unscored, index, next, k, n);
  return cudaGetLastError();
}

}  // namespace drm::cuda
