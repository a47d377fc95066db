#include <cuda_bf16.h>

#include <algorithm>

#include "../random/philox.h"
#include "branch.h"

namespace drm::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kThreads = 256;                // four elements a thread: one block of Philox
constexpr int64_t kElements = 4 * kThreads;  // of a block

struct alignas(8) Bf16x4 {
  __nv_bfloat16 v[4];
};

/// Four values from element i on, zeros past the end. Rows of n values start at multiples of n: when 4 divides n every
/// load is aligned.
__device__ void load4(const float* p, int64_t i, int64_t n, bool whole, float out[4]) {
  if (whole) {
    const float4 v = *reinterpret_cast<const float4*>(p + i);
    out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
  } else
    for (int j = 0; j < 4; ++j) out[j] = i + j < n ? p[i + j] : 0;
}
__device__ void load4(const __nv_bfloat16* p, int64_t i, int64_t n, bool whole, float out[4]) {
  if (whole) {
    const Bf16x4 v = *reinterpret_cast<const Bf16x4*>(p + i);
    for (int j = 0; j < 4; ++j) out[j] = __bfloat162float(v.v[j]);
  } else
    for (int j = 0; j < 4; ++j) out[j] = i + j < n ? __bfloat162float(p[i + j]) : 0;
}

__device__ float warp_sum(float v) {
  for (int offset = kWarp / 2; offset; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  return v;
}

// x, u and c are read once, whatever K is; each candidate is written once. A block sums the squared distances of its
// elements in a fixed order and leaves one number a candidate in `scratch`; finish_log_prob adds those up in order, so
// that results do not depend on scheduling.
template <class T, bool kGuided>
__global__ void __launch_bounds__(kThreads)
    branch(const float* x, const T* u, const T* c, const int64_t* keys, BranchStep step, float* candidates,
           float* scratch, int k, int64_t n) {
  extern __shared__ float sums[];  // a warp's, of each candidate: [warps][k]
  const int64_t b = blockIdx.y, i = blockIdx.x * kElements + 4 * threadIdx.x;
  const bool inside = i < n, whole = n % 4 == 0 && i + 4 <= n;
  float mean[4] = {0, 0, 0, 0};
  if (inside) {
    float from[4], along[4];
    load4(x + b * n, i, n, whole, from);
    load4(c + b * n, i, n, whole, along);
    if constexpr (kGuided) {
      float without[4];
      load4(u + b * n, i, n, whole, without);
      for (int j = 0; j < 4; ++j)
        along[j] = __fadd_rn(without[j], __fmul_rn(step.scale, __fsub_rn(along[j], without[j])));
    }
    for (int j = 0; j < 4; ++j) mean[j] = __fadd_rn(__fmul_rn(step.cx, from[j]), __fmul_rn(step.cv, along[j]));
  }
  Draw draw;
  draw.seed = static_cast<uint64_t>(keys[2 * b]);
  draw.purpose = Purpose::Branch;
  draw.step = step.index;
  draw.sample = static_cast<uint32_t>(keys[2 * b + 1]);
  for (int q = 0; q < k; ++q) {
    float squares = 0;
    if (inside) {
      draw.candidate = static_cast<uint32_t>(q);
      float value[4];
      normals(draw, static_cast<uint32_t>(i / 4), value);
      for (int j = 0; j < 4; ++j) {
        value[j] = __fadd_rn(mean[j], __fmul_rn(step.noise_std, value[j]));
        const float distance = i + j < n ? value[j] - mean[j] : 0;
        squares += distance * distance;
      }
      float* to = candidates + (b * k + q) * n + i;
      if (whole)
        *reinterpret_cast<float4*>(to) = make_float4(value[0], value[1], value[2], value[3]);
      else
        for (int j = 0; j < 4; ++j)
          if (i + j < n) to[j] = value[j];
    }
    squares = warp_sum(squares);
    if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp * k + q] = squares;
  }
  __syncthreads();
  for (int q = threadIdx.x; q < k; q += kThreads) {
    float total = 0;
    for (int w = 0; w < kThreads / kWarp; ++w) total += sums[w * k + q];
    scratch[(b * k + q) * gridDim.x + blockIdx.x] = total;
  }
}

/// A warp a candidate.
__global__ void finish_log_prob(const float* scratch, BranchStep step, float* log_prob, int64_t rows, int64_t blocks,
                                int64_t n) {
  const int64_t r = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  if (r >= rows) return;
  float sum = 0;
  for (int64_t i = threadIdx.x % kWarp; i < blocks; i += kWarp) sum += scratch[r * blocks + i];
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0)
    log_prob[r] = -sum / (2 * step.noise_std * step.noise_std * static_cast<float>(n)) - step.log_constant;
}

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
                       int32_t step, int32_t* lost, int64_t* index, float* next, int64_t k, int64_t n) {
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
      if (none && lost[b] < 0) lost[b] = step;
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

template <class T>
void run_branch(const float* x, const void* u, const void* c, const int64_t* keys, const BranchStep& step,
                float* candidates, float* scratch, int64_t batch, int64_t k, int64_t n, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(blocks_of(n)), static_cast<unsigned>(batch));
  const auto shared = static_cast<size_t>(kThreads / kWarp * k) * sizeof(float);
  const auto *us = static_cast<const T*>(u), *cs = static_cast<const T*>(c);
  if (u)
    branch<T, true>
        <<<grid, kThreads, shared, stream>>>(x, us, cs, keys, step, candidates, scratch, static_cast<int>(k), n);
  else
    branch<T, false>
        <<<grid, kThreads, shared, stream>>>(x, us, cs, keys, step, candidates, scratch, static_cast<int>(k), n);
}

}  // namespace

int64_t branch_scratch(int64_t batch, int64_t k, int64_t n) { return batch * k * blocks_of(n); }

cudaError_t launch_branch(Element e, const float* x, const void* u, const void* c, const int64_t* keys,
                          const BranchStep& step, float* candidates, float* log_prob, float* scratch, int64_t batch,
                          int64_t k, int64_t n, cudaStream_t stream) {
  if (batch == 0 || k == 0 || n == 0) return cudaSuccess;
  if (e == Element::Fp32)
    run_branch<float>(x, u, c, keys, step, candidates, scratch, batch, k, n, stream);
  else
    run_branch<__nv_bfloat16>(x, u, c, keys, step, candidates, scratch, batch, k, n, stream);
  if (const auto failed = cudaGetLastError(); failed != cudaSuccess) return failed;
  const int64_t rows = batch * k;
  finish_log_prob<<<static_cast<unsigned>((rows * kWarp + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
      scratch, step, log_prob, rows, blocks_of(n), n);
  return cudaGetLastError();
}

cudaError_t launch_select(const float* candidates, const float* rewards, double temperature, const float* uniforms,
                          int32_t step, int32_t* lost, int64_t* index, float* next, int64_t batch, int64_t k, int64_t n,
                          cudaStream_t stream) {
  if (batch == 0 || k == 0 || n == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(blocks_of(n)), static_cast<unsigned>(batch));
  select<<<grid, kThreads, 0, stream>>>(candidates, rewards, temperature, uniforms, step, lost, index, next, k, n);
  return cudaGetLastError();
}

}  // namespace drm::cuda
