#include <cuda_bf16.h>

#include <cstdint>
#include <initializer_list>

#include "modulation.h"

namespace drm::cuda {
namespace {

constexpr float kEps = 1e-6f;
constexpr int kWarp = 32;
constexpr int kRowThreads = 256;

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

/// 16 bytes, the widest access there is.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T v[kSize];
};
template <class T>
__device__ Pack<T> load(const T* from) {
  return *reinterpret_cast<const Pack<T>*>(from);
}
template <class T>
__device__ void store(const Pack<T>& pack, T* to) {
  *reinterpret_cast<Pack<T>*>(to) = pack;
}

// A warp a row, whose values stay in registers: kPacks packs a lane. Mean, then the variance around it.
template <class T, int kPacks>
__global__ void __launch_bounds__(kRowThreads)
    modulated_norm_of_packs(const T* x, const T* shift, const T* scale, T* y, int64_t rows, int64_t rows_per_batch,
                            int d, int64_t shift_stride, int64_t scale_stride) {
  constexpr int kSize = Pack<T>::kSize;
  const int64_t r = static_cast<int64_t>(blockIdx.x) * (kRowThreads / kWarp) + threadIdx.x / kWarp;
  if (r >= rows) return;
  const int first = threadIdx.x % kWarp * kSize;
  float value[kPacks][kSize];
  float sum = 0;
  for (int p = 0; p < kPacks; ++p) {
    const int i = first + p * kWarp * kSize;
    const auto pack = i < d ? load(x + r * d + i) : Pack<T>{};
    for (int j = 0; j < kSize; ++j) sum += value[p][j] = widen(pack.v[j]);
  }
  const float mean = warp_sum(sum) / static_cast<float>(d);
  float squares = 0;
  for (int p = 0; p < kPacks; ++p)
    if (first + p * kWarp * kSize < d)
      for (int j = 0; j < kSize; ++j) squares += (value[p][j] - mean) * (value[p][j] - mean);
  const float inverse = rsqrtf(warp_sum(squares) / static_cast<float>(d) + kEps);
  const int64_t b = r / rows_per_batch;
  for (int p = 0; p < kPacks; ++p) {
    const int i = first + p * kWarp * kSize;
    if (i >= d) break;
    const auto a = load(scale + b * scale_stride + i), c = load(shift + b * shift_stride + i);
    Pack<T> out;
    for (int j = 0; j < kSize; ++j)
      narrow((value[p][j] - mean) * inverse * (1 + widen(a.v[j])) + widen(c.v[j]), out.v + j);
    store(out, y + r * d + i);
  }
}

// For rows that packs do not divide: a block a row. The row is read from memory once and held in shared memory in fp32:
// mean, then the variance around it (two passes, as stable as the reference), then the result.
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

// A pack a thread.
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    gated_add_of_packs(const T* x, const T* gate, const T* y, T* out, uint32_t packs, uint32_t packs_of_row,
                       uint32_t rows_per_batch, int64_t gate_stride) {
  constexpr int kSize = Pack<T>::kSize;
  const uint32_t p = blockIdx.x * kRowThreads + threadIdx.x;
  if (p >= packs) return;
  const uint32_t r = p / packs_of_row;
  const int64_t i = static_cast<int64_t>(p) * kSize;
  const auto a = load(x + i), c = load(y + i);
  const auto g = load(gate + r / rows_per_batch * gate_stride + (p - r * packs_of_row) * kSize);
  Pack<T> sum;
  for (int j = 0; j < kSize; ++j) narrow(widen(a.v[j]) + widen(g.v[j]) * widen(c.v[j]), sum.v + j);
  store(sum, out + i);
}

// A pack a thread, lanes of a head side by side; blockIdx.y is the projection.
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    joint_heads(JointHeads of, uint32_t packs, uint32_t packs_of_row, uint32_t length, int lanes_of_head) {
  constexpr int kSize = Pack<T>::kSize;
  const auto& part = of.parts[blockIdx.y];
  const uint32_t p = blockIdx.x * kRowThreads + threadIdx.x;
  const bool inside = p < packs;
  const uint32_t r = p / packs_of_row, column = (p - r * packs_of_row) * kSize, b = r / length;
  auto pack = inside ? load(static_cast<const T*>(part.x) + r * part.x_stride + column) : Pack<T>{};
  if (part.weight) {
    float squares = 0;
    for (int j = 0; j < kSize; ++j) squares += widen(pack.v[j]) * widen(pack.v[j]);
    for (int offset = lanes_of_head / 2; offset; offset /= 2) squares += __shfl_xor_sync(0xffffffffu, squares, offset);
    const int k = lanes_of_head * kSize;
    const float inverse = rsqrtf(squares / static_cast<float>(k) + kEps);
    const auto w = load(static_cast<const T*>(part.weight) + column % k);
    for (int j = 0; j < kSize; ++j) narrow(widen(pack.v[j]) * inverse * widen(w.v[j]), pack.v + j);
  }
  if (!inside) return;
  const int64_t row = static_cast<int64_t>(b) * part.out_length + part.offset + (r - b * length);
  store(pack, static_cast<T*>(part.out) + row * packs_of_row * kSize + column);
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

bool aligned(std::initializer_list<const void*> pointers) {
  for (const auto* p : pointers)
    if (reinterpret_cast<uintptr_t>(p) % 16) return false;
  return true;
}
/// Whether rows of d elements at these strides can be read as packs.
template <class T>
bool in_packs(int64_t d, std::initializer_list<int64_t> strides) {
  for (const auto s : strides)
    if (s % Pack<T>::kSize) return false;
  return d % Pack<T>::kSize == 0;
}

template <class T>
bool run_in_packs(const T* x, const T* shift, const T* scale, T* y, int64_t rows, int64_t rows_per_batch, int64_t d,
                  int64_t shift_stride, int64_t scale_stride, cudaStream_t stream) {
  constexpr int64_t kOfWarp = kWarp * Pack<T>::kSize;
  if (!in_packs<T>(d, {shift_stride, scale_stride}) || !aligned({x, shift, scale, y}) || d > 12 * kOfWarp) return false;
  const auto grid = static_cast<unsigned>((rows + kRowThreads / kWarp - 1) / (kRowThreads / kWarp));
  const auto with = [&](auto kernel) {
    kernel<<<grid, kRowThreads, 0, stream>>>(x, shift, scale, y, rows, rows_per_batch, static_cast<int>(d),
                                             shift_stride, scale_stride);
  };
  const auto packs = (d + kOfWarp - 1) / kOfWarp;
  packs <= 2   ? with(modulated_norm_of_packs<T, 2>)
  : packs <= 6 ? with(modulated_norm_of_packs<T, 6>)  // SD3.5-Medium's width in bf16
               : with(modulated_norm_of_packs<T, 12>);
  return true;
}

template <class T>
bool run_in_packs(const T* x, const T* gate, const T* y, T* out, int64_t rows, int64_t rows_per_batch, int64_t d,
                  int64_t gate_stride, cudaStream_t stream) {
  const auto packs = rows * d / Pack<T>::kSize;
  if (!in_packs<T>(d, {gate_stride}) || !aligned({x, gate, y, out}) || packs > INT32_MAX) return false;
  gated_add_of_packs<<<static_cast<unsigned>((packs + kRowThreads - 1) / kRowThreads), kRowThreads, 0, stream>>>(
      x, gate, y, out, static_cast<uint32_t>(packs), static_cast<uint32_t>(d / Pack<T>::kSize),
      static_cast<uint32_t>(rows_per_batch), gate_stride);
  return true;
}

template <class T>
bool run_joint_heads(const JointHeads& of, int64_t batch, int64_t length, int64_t d, int64_t k, cudaStream_t stream) {
  const auto lanes = k / Pack<T>::kSize, packs = batch * length * d / Pack<T>::kSize;
  const bool whole_lanes = k % Pack<T>::kSize == 0 && lanes <= kWarp && (lanes & (lanes - 1)) == 0;
  if (!whole_lanes || !in_packs<T>(d, {}) || packs > INT32_MAX) return false;
  for (int i = 0; i < of.count; ++i) {
    const auto& p = of.parts[i];
    if (!in_packs<T>(d, {p.x_stride}) || !aligned({p.x, p.weight, p.out})) return false;
  }
  const dim3 grid(static_cast<unsigned>((packs + kRowThreads - 1) / kRowThreads), static_cast<unsigned>(of.count));
  joint_heads<T><<<grid, kRowThreads, 0, stream>>>(of, static_cast<uint32_t>(packs),
                                                   static_cast<uint32_t>(d / Pack<T>::kSize),
                                                   static_cast<uint32_t>(length), static_cast<int>(lanes));
  return true;
}

}  // namespace

cudaError_t launch_modulated_norm(Element e, const void* x, const void* shift, const void* scale, void* y, int64_t rows,
                                  int64_t rows_per_batch, int64_t d, int64_t shift_stride, int64_t scale_stride,
                                  cudaStream_t stream) {
  if (rows == 0 || d == 0) return cudaSuccess;
  const bool done = e == Element::Fp32 ? run_in_packs(as<float>(x), as<float>(shift), as<float>(scale), as<float>(y),
                                                      rows, rows_per_batch, d, shift_stride, scale_stride, stream)
                                       : run_in_packs(as<__nv_bfloat16>(x), as<__nv_bfloat16>(shift),
                                                      as<__nv_bfloat16>(scale), as<__nv_bfloat16>(y), rows,
                                                      rows_per_batch, d, shift_stride, scale_stride, stream);
  if (done) return cudaGetLastError();
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
  const bool done = e == Element::Fp32
                        ? run_in_packs(as<float>(x), as<float>(gate), as<float>(y), as<float>(out), rows,
                                       rows_per_batch, d, gate_stride, stream)
                        : run_in_packs(as<__nv_bfloat16>(x), as<__nv_bfloat16>(gate), as<__nv_bfloat16>(y),
                                       as<__nv_bfloat16>(out), rows, rows_per_batch, d, gate_stride, stream);
  if (done) return cudaGetLastError();
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

cudaError_t launch_joint_heads(Element e, const JointHeads& of, int64_t batch, int64_t length, int64_t d, int64_t k,
                               cudaStream_t stream) {
  if (batch == 0 || length == 0 || d == 0) return cudaSuccess;
  const bool done = e == Element::Fp32 ? run_joint_heads<float>(of, batch, length, d, k, stream)
                                       : run_joint_heads<__nv_bfloat16>(of, batch, length, d, k, stream);
  return done ? cudaGetLastError() : cudaErrorNotSupported;
}

}  // namespace drm::cuda
