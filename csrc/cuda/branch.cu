#include <cuda_bf16.h>

#include "../random/philox.h"
#include "branch.h"

namespace drm::cuda {
namespace {

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

// x, u and c are read once, whatever K is; each candidate is written once.
template <class T, bool kGuided>
__global__ void __launch_bounds__(kThreads) branch(const float* x, const T* u, const T* c, const int64_t* keys,
                                                   BranchStep step, float* candidates, int k, int64_t n) {
  const int64_t b = blockIdx.y, i = blockIdx.x * kElements + 4 * threadIdx.x;
  if (i >= n) return;
  const bool whole = n % 4 == 0 && i + 4 <= n;
  float mean[4], from[4], along[4];
  load4(x + b * n, i, n, whole, from);
  load4(c + b * n, i, n, whole, along);
  if constexpr (kGuided) {
    float without[4];
    load4(u + b * n, i, n, whole, without);
    for (int j = 0; j < 4; ++j)
      along[j] = __fadd_rn(without[j], __fmul_rn(step.scale, __fsub_rn(along[j], without[j])));
  }
  for (int j = 0; j < 4; ++j) mean[j] = __fadd_rn(__fmul_rn(step.cx, from[j]), __fmul_rn(step.cv, along[j]));
  Draw draw;
  draw.seed = static_cast<uint64_t>(keys[2 * b]);
  draw.purpose = Purpose::Branch;
  draw.step = step.index;
  draw.sample = static_cast<uint32_t>(keys[2 * b + 1]);
  for (int q = 0; q < k; ++q) {
    draw.candidate = static_cast<uint32_t>(q);
    float value[4];
    normals(draw, static_cast<uint32_t>(i / 4), value);
    for (int j = 0; j < 4; ++j) value[j] = __fadd_rn(mean[j], __fmul_rn(step.noise_std, value[j]));
    float* to = candidates + (b * k + q) * n + i;
    if (whole)
      *reinterpret_cast<float4*>(to) = make_float4(value[0], value[1], value[2], value[3]);
    else
      for (int j = 0; j < 4; ++j)
        if (i + j < n) to[j] = value[j];
  }
}

int64_t blocks_of(int64_t n) { return (n + kElements - 1) / kElements; }

template <class T>
void run_branch(const float* x, const void* u, const void* c, const int64_t* keys, const BranchStep& step,
                float* candidates, int64_t batch, int64_t k, int64_t n, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(blocks_of(n)), static_cast<unsigned>(batch));
  const auto *us = static_cast<const T*>(u), *cs = static_cast<const T*>(c);
  if (u)
    branch<T, true><<<grid, kThreads, 0, stream>>>(x, us, cs, keys, step, candidates, static_cast<int>(k), n);
  else
    branch<T, false><<<grid, kThreads, 0, stream>>>(x, us, cs, keys, step, candidates, static_cast<int>(k), n);
}

}  // namespace

cudaError_t launch_branch(Element e, const float* x, const void* u, const void* c, const int64_t* keys,
                          const BranchStep& step, float* candidates, int64_t batch, int64_t k, int64_t n,
                          cudaStream_t stream) {
  if (batch == 0 || k == 0 || n == 0) return cudaSuccess;
  if (e == Element::Fp32)
    run_branch<float>(x, u, c, keys, step, candidates, batch, k, n, stream);
  else
    run_branch<__nv_bfloat16>(x, u, c, keys, step, candidates, batch, k, n, stream);
  return cudaGetLastError();
}

}  // namespace drm::cuda
