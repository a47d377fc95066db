// The CPU twins of csrc/cuda/modulation.cu: a thread takes whole rows, the compiler vectorises along a row for the
// instruction set found at run time (target_clones), bf16 widens to fp32 in registers.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "nn/fused.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define DRM_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DRM_MULTIVERSION
#endif

namespace drm::fused::cpu {
namespace {

constexpr float kEps = 1e-6f;
constexpr int64_t kGrain = 16384;  // elements a thread should get at least

// target_clones does not reach into templates or lambdas, so the row functions are written per element type by a macro.
inline float widen(float v) { return v; }
inline float widen(uint16_t v) { return std::bit_cast<float>(static_cast<uint32_t>(v) << 16); }
inline void narrow(float v, float* to) { *to = v; }
inline void narrow(float v, uint16_t* to) {
  // Round to nearest even. NaN is given a quiet mantissa, so that adding the rounding bias cannot turn it into
  // infinity.
  const auto bits = std::bit_cast<uint32_t>(v);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  *to = static_cast<uint16_t>(v != v ? 0x7fc0 : rounded);
}

#define DRM_ROW_FUNCTIONS(T, NAME)                                                                                     \
  DRM_MULTIVERSION void norm_row_##NAME(const T* x, const T* shift, const T* scale, T* y, int64_t d) {                 \
    float sum = 0;                                                                                                     \
    _Pragma("omp simd reduction(+ : sum)") for (int64_t i = 0; i < d; ++i) sum += widen(x[i]);                         \
    const float mean = sum / static_cast<float>(d);                                                                    \
    float squares = 0;                                                                                                 \
    _Pragma("omp simd reduction(+ : squares)") for (int64_t i = 0; i < d; ++i) {                                       \
      const float c = widen(x[i]) - mean;                                                                              \
      squares += c * c;                                                                                                \
    }                                                                                                                  \
    const float inverse = 1 / std::sqrt(squares / static_cast<float>(d) + kEps);                                       \
    _Pragma("omp simd") for (int64_t i = 0; i < d; ++i)                                                                \
        narrow((widen(x[i]) - mean) * inverse * (1 + widen(scale[i])) + widen(shift[i]), y + i);                       \
  }                                                                                                                    \
  DRM_MULTIVERSION void gate_row_##NAME(const T* x, const T* gate, const T* y, T* out, int64_t d) {                    \
    _Pragma("omp simd") for (int64_t i = 0; i < d; ++i) narrow(widen(x[i]) + widen(gate[i]) * widen(y[i]), out + i);   \
  }                                                                                                                    \
  DRM_MULTIVERSION void rms_row_##NAME(const T* x, const T* weight, T* y, int64_t heads, int64_t k) {                  \
    for (int64_t h = 0; h < heads; ++h, x += k, y += k) {                                                              \
      float squares = 0;                                                                                               \
      _Pragma("omp simd reduction(+ : squares)") for (int64_t i = 0; i < k; ++i) squares += widen(x[i]) * widen(x[i]); \
      const float inverse = 1 / std::sqrt(squares / static_cast<float>(k) + kEps);                                     \
      _Pragma("omp simd") for (int64_t i = 0; i < k; ++i) narrow(widen(x[i]) * inverse * widen(weight[i]), y + i);     \
    }                                                                                                                  \
  }
DRM_ROW_FUNCTIONS(float, fp32)
DRM_ROW_FUNCTIONS(uint16_t, bf16)
#undef DRM_ROW_FUNCTIONS

template <class T>
const T* data(const at::Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <class T>
T* mutable_data(at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

/// Calls row(first element offset, batch index) for every row of x (B, L, D), in parallel.
template <class Row>
void each_row(const at::Tensor& x, Row row) {
  const auto rows_per_batch = x.size(1), d = x.numel() / std::max<int64_t>(1, x.size(0) * rows_per_batch);
  at::parallel_for(0, x.size(0) * rows_per_batch, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, d)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t r = begin; r < end; ++r) row(r * d, r / rows_per_batch, d);
                   });
}

template <class T, class Function>
void norm_rows(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, at::Tensor& out,
               Function function) {
  each_row(x, [&](int64_t at, int64_t b, int64_t d) {
    function(data<T>(x) + at, data<T>(shift) + b * shift.stride(0), data<T>(scale) + b * scale.stride(0),
             mutable_data<T>(out) + at, d);
  });
}

template <class T, class Function>
void gate_rows(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y, at::Tensor& out, Function function) {
  each_row(x, [&](int64_t at, int64_t b, int64_t d) {
    function(data<T>(x) + at, data<T>(gate) + b * gate.stride(0), data<T>(y) + at, mutable_data<T>(out) + at, d);
  });
}

template <class T, class Function>
void rms_rows(const at::Tensor& x, const at::Tensor& weight, at::Tensor& out, Function function) {
  each_row(x, [&](int64_t at, int64_t, int64_t) {
    function(data<T>(x) + at, data<T>(weight), mutable_data<T>(out) + at, x.size(2), x.size(3));
  });
}

}  // namespace

void modulated_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale, at::Tensor& out) {
  if (x.scalar_type() == at::kFloat)
    norm_rows<float>(x, shift, scale, out, norm_row_fp32);
  else
    norm_rows<uint16_t>(x, shift, scale, out, norm_row_bf16);
}

void gated_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y, at::Tensor& out) {
  if (x.scalar_type() == at::kFloat)
    gate_rows<float>(x, gate, y, out, gate_row_fp32);
  else
    gate_rows<uint16_t>(x, gate, y, out, gate_row_bf16);
}

void qk_norm(const at::Tensor& x_BLHK, const at::Tensor& weight, at::Tensor& out) {
  if (x_BLHK.scalar_type() == at::kFloat)
    rms_rows<float>(x_BLHK, weight, out, rms_row_fp32);
  else
    rms_rows<uint16_t>(x_BLHK, weight, out, rms_row_bf16);
}

}  // namespace drm::fused::cpu
