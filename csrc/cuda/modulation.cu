#include <cuda_bf16.h>

#include "modulation.h"

namespace drm::cuda {
namespace {

constexpr float kEps = 1e-6f;
constexpr int kWarp = 32;

__device__ float widen(float v) { return v; }
__device__ float widen(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ void narrow(float v, float* to) { *to = v; }
__device__ void narrow(float v, __nv_bfloat16* to) { *to = __float2bfloat16_rn(v); }

__device__ float warp_sum(float v) {
  for (int offset = kWarp / 2; offset; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  return v;
}

/// Sum over the block, known to every thread. `scratch` has one float a warp.
__device__ float block_sum(float v, float* scratch) {
  v = warp_sum(v);
  const int warps = blockDim.x / kWarp;
  __syncthreads();  // scratch may still be read from the previous sum
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = v;
  __syncthreads();
  float total = 0;
  for (int w = 0; w < warps; ++w) total += scratch[w];
  return total;
}

// A block a row. The row is read from memory once and held in shared memory in fp32: mean, then the variance around it
// (two passes, as stable as the reference), then the result.
template <class T>
__global__ void modulated_norm(const T* x, const T* shift, const T* scale, T* y, int64_t rows_per_batch, int64_t d,
                               int64_t shift_stride, int64_t scale_stride) {
  extern __shared__ float row[];
  __shared__ float scratch[kWarp];
  const int64_t r = blockIdx.x, b = r / rows_per_batch;
  x += r * d;
  y += r * d;
  shift += b * shift_stride;
  scale += b * scale_stride;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < d; i += blockDim.x) sum += row[i] = widen(x[i]);
  const float mean = block_sum(sum, scratch) / static_cast<float>(d);
  float squares = 0;
  for (int64_t i = threadIdx.x; i < d; i += blockDim.x) squares += (row[i] - mean) * (row[i] - mean);
  const float inverse = rsqrtf(block_sum(squares, scratch) / static_cast<float>(d) + kEps);
  for (int64_t i = threadIdx.x; i < d; i += blockDim.x)
    narrow((row[i] - mean) * inverse * (1 + widen(scale[i])) + widen(shift[i]), y + i);
}

template <class T>
__global__ void gated_add(const T* x, const T* gate, const T* y, T* out, int64_t rows_per_batch, int64_t d,
                          int64_t gate_stride) {
  const int64_t r = blockIdx.x;
  gate += r / rows_per_batch * gate_stride;
  for (int64_t i = threadIdx.x; i < d; i += blockDim.x)
    narrow(widen(x[r * d + i]) + widen(gate[i]) * widen(y[r * d + i]), out + r * d + i);
}

// A warp a head: heads have 64 channels in every SD3 release, two a lane.
template <class T>
__global__ void qk_norm(const T* x, const T* weight, T* y, int64_t rows, int64_t k) {
  const int64_t r = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  if (r >= rows) return;
  const int lane = threadIdx.x % kWarp;
  float squares = 0;
  for (int64_t i = lane; i < k; i += kWarp) squares += widen(x[r * k + i]) * widen(x[r * k + i]);
  const float inverse = rsqrtf(warp_sum(squares) / static_cast<float>(k) + kEps);
  for (int64_t i = lane; i < k; i += kWarp) narrow(widen(x[r * k + i]) * inverse * widen(weight[i]), y + r * k + i);
}

int threads_for(int64_t d) { return d >= 1024 ? 256 : d >= 256 ? 128 : kWarp; }

template <class T>
const T* as(const void* p) {
  return static_cast<const T*>(p);
}
template <class T>
T* as(void* p) {
  return static_cast<T*>(p);
}

}  // namespace

cudaError_t launch_modulated_norm(Element e, const void* x, const void* shift, const void* scale, void* y, int64_t rows,
                                  int64_t rows_per_batch, int64_t d, int64_t shift_stride, int64_t scale_stride,
                                  cudaStream_t stream) {
  if (rows == 0 || d == 0) return cudaSuccess;
  const auto grid = static_cast<unsigned>(rows);
  const auto shared = static_cast<size_t>(d) * sizeof(float);
  if (e == Element::Fp32)
    modulated_norm<<<grid, threads_for(d), shared, stream>>>(
        as<float>(x), as<float>(shift), as<float>(scale), as<float>(y), rows_per_batch, d, shift_stride, scale_stride);
  else
    modulated_norm<<<grid, threads_for(d), shared, stream>>>(as<__nv_bfloat16>(x), as<__nv_bfloat16>(shift),
                                                             as<__nv_bfloat16>(scale), as<__nv_bfloat16>(y),
                                                             rows_per_batch, d, shift_stride, scale_stride);
  return cudaGetLastError();
}

cudaError_t launch_gated_add(Element e, const void* x, const void* gate, const void* y, void* out, int64_t rows,
                             int64_t rows_per_batch, int64_t d, int64_t gate_stride, cudaStream_t stream) {
  if (rows == 0 || d == 0) return cudaSuccess;
  const auto grid = static_cast<unsigned>(rows);
  if (e == Element::Fp32)
    gated_add<<<grid, threads_for(d), 0, stream>>>(as<float>(x), as<float>(gate), as<float>(y), as<float>(out),
                                                   rows_per_batch, d, gate_stride);
  else
    gated_add<<<grid, threads_for(d), 0, stream>>>(as<__nv_bfloat16>(x), as<__nv_bfloat16>(gate), as<__nv_bfloat16>(y),
                                                   as<__nv_bfloat16>(out), rows_per_batch, d, gate_stride);
  return cudaGetLastError();
}

cudaError_t launch_qk_norm(Element e, const void* x, const void* weight, void* y, int64_t rows, int64_t k,
                           cudaStream_t stream) {
  if (rows == 0 || k == 0) return cudaSuccess;
  constexpr int kThreads = 256;
  const auto grid = static_cast<unsigned>((rows * kWarp + kThreads - 1) / kThreads);
  if (e == Element::Fp32)
    qk_norm<<<grid, kThreads, 0, stream>>>(as<float>(x), as<float>(weight), as<float>(y), rows, k);
  else
    qk_norm<<<grid, kThreads, 0, stream>>>(as<__nv_bfloat16>(x), as<__nv_bfloat16>(weight), as<__nv_bfloat16>(y), rows,
                                           k);
  return cudaGetLastError();
}

}  // namespace drm::cuda
