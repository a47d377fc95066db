// The CPU twins of csrc/cuda/modulation.cu, and their gradients. A thread takes blocks of whole rows; a row is widened
// to fp32 in a buffer that stays in the first-level cache, worked on there, and rounded once. The compiler vectorises
// along a row for the instruction set found at run time (target_clones).
//
// Gradients of what rows share (shift, scale, gate, weights) are summed within a block, and then over blocks in order.
// Blocks depend on the shape alone, so the sums do not depend on the number of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/grain.h"
#include "common/multiversion.h"
#include "nn/fused.h"

namespace drm::fused::cpu {
namespace {

using at::Tensor;

constexpr float kEps = 1e-6f;
constexpr int64_t kBlockRows = 64;

// target_clones does not reach into templates or lambdas: the row functions are plain functions of fp32 rows.

/// `runs` runs of n values, `stride` apart, into one dense row; and back, rounded to nearest even.
DRM_MULTIVERSION void widen_runs(const uint16_t* from, int64_t stride, float* to, int64_t runs, int64_t n) {
  for (int64_t r = 0; r < runs; ++r, from += stride, to += n) {
    _Pragma("omp simd") for (int64_t i = 0; i < n; ++i) to[i] =
        std::bit_cast<float>(static_cast<uint32_t>(from[i]) << 16);
  }
}
DRM_MULTIVERSION void narrow_runs(const float* from, uint16_t* to, int64_t stride, int64_t runs, int64_t n) {
  for (int64_t r = 0; r < runs; ++r, from += n, to += stride) {
    _Pragma("omp simd") for (int64_t i = 0; i < n; ++i) {
      // NaN is given a quiet mantissa, so that adding the rounding bias cannot turn it into infinity.
      const auto bits = std::bit_cast<uint32_t>(from[i]);
      const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
      to[i] = static_cast<uint16_t>(std::isnan(from[i]) ? 0x7fc0 : rounded);
    }
  }
}
DRM_MULTIVERSION void widen_half_runs(const at::Half* from, int64_t stride, float* to, int64_t runs, int64_t n) {
  for (int64_t r = 0; r < runs; ++r, from += stride, to += n) {
    _Pragma("omp simd") for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]);
  }
}
DRM_MULTIVERSION void narrow_half_runs(const float* from, at::Half* to, int64_t stride, int64_t runs, int64_t n) {
  for (int64_t r = 0; r < runs; ++r, from += n, to += stride) {
    _Pragma("omp simd") for (int64_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

struct Moments {
  float mean, inverse;  // inverse of the standard deviation
};
DRM_MULTIVERSION Moments moments(const float* x, int64_t d) {
  float sum = 0;
  _Pragma("omp simd reduction(+ : sum)") for (int64_t i = 0; i < d; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(d);
  float squares = 0;
  _Pragma("omp simd reduction(+ : squares)") for (int64_t i = 0; i < d; ++i) {
    const float c = x[i] - mean;
    squares += c * c;
  }
  return {mean, 1 / std::sqrt(squares / static_cast<float>(d) + kEps)};
}

DRM_MULTIVERSION void norm_row(const float* x, const float* shift, const float* scale, float* y, int64_t d) {
  const auto m = moments(x, d);
  _Pragma("omp simd") for (int64_t i = 0; i < d; ++i) y[i] = (x[i] - m.mean) * m.inverse * (1 + scale[i]) + shift[i];
}

/// With n = (x - mean) / deviation and g = gy (1 + scale): gx = (g - mean(g) - n mean(g n)) / deviation.
DRM_MULTIVERSION void norm_row_backward(const float* x, const float* scale, const float* gy, float* gx, float* gshift,
                                        float* gscale, int64_t d) {
  const auto m = moments(x, d);
  float sum = 0, product = 0;
  _Pragma("omp simd reduction(+ : sum, product)") for (int64_t i = 0; i < d; ++i) {
    const float n = (x[i] - m.mean) * m.inverse, g = gy[i] * (1 + scale[i]);
    gshift[i] += gy[i];
    gscale[i] += gy[i] * n;
    sum += g;
    product += g * n;
  }
  sum /= static_cast<float>(d);
  product /= static_cast<float>(d);
  _Pragma("omp simd") for (int64_t i = 0; i < d; ++i) {
    const float n = (x[i] - m.mean) * m.inverse, g = gy[i] * (1 + scale[i]);
    gx[i] = (g - sum - n * product) * m.inverse;
  }
}

DRM_MULTIVERSION void gate_row(const float* x, const float* gate, const float* y, float* z, int64_t d) {
  _Pragma("omp simd") for (int64_t i = 0; i < d; ++i) z[i] = x[i] + gate[i] * y[i];
}
DRM_MULTIVERSION void gate_row_backward(const float* gate, const float* y, const float* gz, float* gy, float* ggate,
                                        int64_t d) {
  _Pragma("omp simd") for (int64_t i = 0; i < d; ++i) {
    gy[i] = gate[i] * gz[i];
    ggate[i] += gz[i] * y[i];
  }
}

DRM_MULTIVERSION void rms_row(const float* x, const float* weight, float factor, float* y, int64_t heads, int64_t k) {
  for (int64_t h = 0; h < heads; ++h, x += k, y += k) {
    float squares = 0;
    _Pragma("omp simd reduction(+ : squares)") for (int64_t i = 0; i < k; ++i) squares += x[i] * x[i];
    const float inverse = factor / std::sqrt(squares / static_cast<float>(k) + kEps);
    _Pragma("omp simd") for (int64_t i = 0; i < k; ++i) y[i] = x[i] * inverse * weight[i];
  }
}
/// With r = 1 / rms(x) and g = gy weight factor: gx = r (g - x r^2 mean(g x)).
DRM_MULTIVERSION void rms_row_backward(const float* x, const float* weight, float factor, const float* gy, float* gx,
                                       float* gweight, int64_t heads, int64_t k) {
  for (int64_t h = 0; h < heads; ++h, x += k, gy += k, gx += k) {
    float squares = 0, product = 0;
    _Pragma("omp simd reduction(+ : squares, product)") for (int64_t i = 0; i < k; ++i) {
      squares += x[i] * x[i];
      product += gy[i] * weight[i] * x[i];
    }
    const float r = 1 / std::sqrt(squares / static_cast<float>(k) + kEps);
    const float along = r * r * product / static_cast<float>(k);
    _Pragma("omp simd") for (int64_t i = 0; i < k; ++i) {
      gweight[i] += factor * gy[i] * x[i] * r;
      gx[i] = factor * r * (gy[i] * weight[i] - x[i] * along);
    }
  }
}

DRM_MULTIVERSION void add_row(const float* x, float* sum, int64_t d) {
  _Pragma("omp simd") for (int64_t i = 0; i < d; ++i) sum[i] += x[i];
}

/// Rows to read in fp32, of a tensor in fp32, fp16 or bf16.
class Source {
 public:
  explicit Source(const Tensor& t) : data_(t.const_data_ptr()), dtype_(t.scalar_type()) {}
  /// n values from element `at` on: the tensor's own memory, or `buffer`.
  const float* row(int64_t at, int64_t n, float* buffer) const {
    if (dtype_ == at::kFloat) return static_cast<const float*>(data_) + at;
    return runs(at, n, n, 1, buffer);
  }
  const float* runs(int64_t at, int64_t n, int64_t stride, int64_t count, float* buffer) const {
    if (dtype_ == at::kBFloat16)
      widen_runs(static_cast<const uint16_t*>(data_) + at, stride, buffer, count, n);
    else if (dtype_ == at::kHalf)
      widen_half_runs(static_cast<const at::Half*>(data_) + at, stride, buffer, count, n);
    else
      for (int64_t r = 0; r < count; ++r)
        std::memcpy(buffer + r * n, static_cast<const float*>(data_) + at + r * stride,
                    static_cast<size_t>(n) * sizeof(float));
    return buffer;
  }

 private:
  const void* data_;
  at::ScalarType dtype_;
};

/// Rows to write.
class Target {
 public:
  explicit Target(Tensor& t) : data_(t.mutable_data_ptr()), dtype_(t.scalar_type()) {}
  /// Where to compute the row that starts at element `at`: in place, or in `buffer`; put() then stores it.
  float* row(int64_t at, float* buffer) const {
    return dtype_ == at::kFloat ? static_cast<float*>(data_) + at : buffer;
  }
  void put(int64_t at, int64_t n, const float* values) const {
    if (dtype_ != at::kFloat || values != static_cast<const float*>(data_) + at) runs(at, n, n, 1, values);
  }
  void runs(int64_t at, int64_t n, int64_t stride, int64_t count, const float* values) const {
    if (dtype_ == at::kBFloat16)
      narrow_runs(values, static_cast<uint16_t*>(data_) + at, stride, count, n);
    else if (dtype_ == at::kHalf)
      narrow_half_runs(values, static_cast<at::Half*>(data_) + at, stride, count, n);
    else
      for (int64_t r = 0; r < count; ++r)
        std::memcpy(static_cast<float*>(data_) + at + r * stride, values + r * n,
                    static_cast<size_t>(n) * sizeof(float));
  }

 private:
  void* data_;
  at::ScalarType dtype_;
};

/// Rows in blocks of at most kBlockRows that do not straddle samples.
struct Blocks {
  int64_t batch, rows, d, per_sample;
  Blocks(int64_t batch, int64_t rows, int64_t d)
      : batch(batch), rows(rows), d(d), per_sample((rows + kBlockRows - 1) / kBlockRows) {}
  int64_t count() const { return batch * per_sample; }
  /// Calls work(block, sample, first row, end row, buffer of `buffers` rows), in parallel.
  template <class Work>
  void each(int64_t buffers, Work work) const {
    const auto size = std::max<int64_t>(1, std::min(rows, kBlockRows) * d);
    at::parallel_for(0, count(), std::max<int64_t>(1, kGrain / size), [&](int64_t begin, int64_t end) {
      std::vector<float> buffer(static_cast<size_t>(buffers * d));
      for (int64_t i = begin; i < end; ++i) {
        const auto first = i % per_sample * kBlockRows;
        work(i, i / per_sample, first, std::min(rows, first + kBlockRows), buffer.data());
      }
    });
  }
};

/// Sums of each block, `n` values; total() adds up the blocks of a group in order and stores the sum as a row.
class Partials {
 public:
  Partials(int64_t blocks, int64_t n) : n_(n), values_(at::zeros({blocks, n})) {}
  float* block(int64_t i) { return values_.mutable_data_ptr<float>() + i * n_; }
  void total(int64_t first, int64_t count, int64_t from, int64_t n, const Target& to, int64_t at) {
    std::vector<float> sum(static_cast<size_t>(n));
    for (int64_t i = first; i < first + count; ++i) add_row(block(i) + from, sum.data(), n);
    to.runs(at, n, n, 1, sum.data());
  }

 private:
  int64_t n_;
  Tensor values_;
};

}  // namespace

void modulated_norm(const Tensor& x, const Tensor& shift, const Tensor& scale, Tensor& out) {
  const Blocks blocks(x.size(0), x.size(1), x.size(2));
  const Source xs(x), shifts(shift), scales(scale);
  const Target outs(out);
  const auto d = blocks.d;
  blocks.each(4, [&](int64_t, int64_t b, int64_t first, int64_t end, float* buffer) {
    const auto* sh = shifts.row(b * shift.stride(0), d, buffer);
    const auto* sc = scales.row(b * scale.stride(0), d, buffer + d);
    for (auto at = (b * blocks.rows + first) * d; at < (b * blocks.rows + end) * d; at += d) {
      auto* y = outs.row(at, buffer + 3 * d);
      norm_row(xs.row(at, d, buffer + 2 * d), sh, sc, y, d);
      outs.put(at, d, y);
    }
  });
}

void modulated_norm_backward(const Tensor& x, const Tensor& scale, const Tensor& gy, Tensor& gx, Tensor& gshift,
                             Tensor& gscale) {
  const Blocks blocks(x.size(0), x.size(1), x.size(2));
  const Source xs(x), scales(scale), gys(gy);
  const Target gxs(gx), gshifts(gshift), gscales(gscale);
  const auto d = blocks.d;
  Partials sums(blocks.count(), 2 * d);
  blocks.each(4, [&](int64_t i, int64_t b, int64_t first, int64_t end, float* buffer) {
    const auto* sc = scales.row(b * scale.stride(0), d, buffer);
    for (auto at = (b * blocks.rows + first) * d; at < (b * blocks.rows + end) * d; at += d) {
      auto* g = gxs.row(at, buffer + 3 * d);
      norm_row_backward(xs.row(at, d, buffer + d), sc, gys.row(at, d, buffer + 2 * d), g, sums.block(i),
                        sums.block(i) + d, d);
      gxs.put(at, d, g);
    }
  });
  for (int64_t b = 0; b < blocks.batch; ++b) {
    sums.total(b * blocks.per_sample, blocks.per_sample, 0, d, gshifts, b * d);
    sums.total(b * blocks.per_sample, blocks.per_sample, d, d, gscales, b * d);
  }
}

void gated_add(const Tensor& x, const Tensor& gate, const Tensor& y, Tensor& out) {
  const Blocks blocks(x.size(0), x.size(1), x.size(2));
  const Source xs(x), gates(gate), ys(y);
  const Target outs(out);
  const auto d = blocks.d;
  blocks.each(4, [&](int64_t, int64_t b, int64_t first, int64_t end, float* buffer) {
    const auto* g = gates.row(b * gate.stride(0), d, buffer);
    for (auto at = (b * blocks.rows + first) * d; at < (b * blocks.rows + end) * d; at += d) {
      auto* z = outs.row(at, buffer + 3 * d);
      gate_row(xs.row(at, d, buffer + d), g, ys.row(at, d, buffer + 2 * d), z, d);
      outs.put(at, d, z);
    }
  });
}

void gated_add_backward(const Tensor& gate, const Tensor& y, const Tensor& gz, Tensor& gy, Tensor& ggate) {
  const Blocks blocks(y.size(0), y.size(1), y.size(2));
  const Source gates(gate), ys(y), gzs(gz);
  const Target gys(gy), ggates(ggate);
  const auto d = blocks.d;
  Partials sums(blocks.count(), d);
  blocks.each(4, [&](int64_t i, int64_t b, int64_t first, int64_t end, float* buffer) {
    const auto* g = gates.row(b * gate.stride(0), d, buffer);
    for (auto at = (b * blocks.rows + first) * d; at < (b * blocks.rows + end) * d; at += d) {
      auto* to = gys.row(at, buffer + 3 * d);
      gate_row_backward(g, ys.row(at, d, buffer + d), gzs.row(at, d, buffer + 2 * d), to, sums.block(i), d);
      gys.put(at, d, to);
    }
  });
  for (int64_t b = 0; b < blocks.batch; ++b) sums.total(b * blocks.per_sample, blocks.per_sample, 0, d, ggates, b * d);
}

void qk_norm(const Tensor& x_BLHK, const Tensor& weight, Tensor& out) {
  const auto heads = x_BLHK.size(2), k = x_BLHK.size(3);
  const Blocks blocks(x_BLHK.size(0), x_BLHK.size(1), heads * k);
  const Source xs(x_BLHK), weights(weight);
  const Target outs(out);
  const auto d = blocks.d;
  blocks.each(3, [&](int64_t, int64_t b, int64_t first, int64_t end, float* buffer) {
    const auto* w = weights.row(0, k, buffer);
    for (auto at = (b * blocks.rows + first) * d; at < (b * blocks.rows + end) * d; at += d) {
      auto* y = outs.row(at, buffer + 2 * d);
      rms_row(xs.row(at, d, buffer + d), w, 1, y, heads, k);
      outs.put(at, d, y);
    }
  });
}

void normed_heads(const HeadsInput& in, double factor, int64_t offset, std::array<Tensor, 3>& out_BHLK) {
  const auto heads = out_BHLK[0].size(1), all = out_BHLK[0].size(2), k = out_BHLK[0].size(3);
  const Blocks blocks(in.qkv.size(0), in.qkv.size(1), heads * k);
  const Source xs(in.qkv), wq(in.norm_q), wk(in.norm_k);
  const Target q(out_BHLK[0]), key(out_BHLK[1]), v(out_BHLK[2]);
  const auto d = blocks.d;
  blocks.each(6, [&](int64_t, int64_t b, int64_t first, int64_t end, float* buffer) {
    const auto *weight_q = wq.row(0, k, buffer), *weight_k = wk.row(0, k, buffer + d);
    auto* normed = buffer + 2 * d;
    for (int64_t l = first; l < end; ++l) {
      const auto* x = xs.row((b * blocks.rows + l) * 3 * d, 3 * d, buffer + 3 * d);
      const auto to = (b * heads * all + offset + l) * k;
      rms_row(x, weight_q, static_cast<float>(factor), normed, heads, k);
      q.runs(to, k, all * k, heads, normed);
      rms_row(x + d, weight_k, 1, normed, heads, k);
      key.runs(to, k, all * k, heads, normed);
      v.runs(to, k, all * k, heads, x + 2 * d);
    }
  });
}

void normed_heads_backward(const HeadsInput& in, double factor, int64_t offset, const std::array<Tensor, 3>& g_BHLK,
                           Tensor& gqkv, Tensor& gnorm_q, Tensor& gnorm_k) {
  const auto heads = g_BHLK[0].size(1), all = g_BHLK[0].size(2), k = g_BHLK[0].size(3);
  const Blocks blocks(in.qkv.size(0), in.qkv.size(1), heads * k);
  const Source xs(in.qkv), wq(in.norm_q), wk(in.norm_k), gq(g_BHLK[0]), gk(g_BHLK[1]), gv(g_BHLK[2]);
  const Target gxs(gqkv), gwq(gnorm_q), gwk(gnorm_k);
  const auto d = blocks.d;
  Partials sums(blocks.count(), 2 * k);
  blocks.each(9, [&](int64_t i, int64_t b, int64_t first, int64_t end, float* buffer) {
    const auto *weight_q = wq.row(0, k, buffer), *weight_k = wk.row(0, k, buffer + d);
    auto* incoming = buffer + 2 * d;
    for (int64_t l = first; l < end; ++l) {
      const auto at = (b * blocks.rows + l) * 3 * d;
      const auto* x = xs.row(at, 3 * d, buffer + 3 * d);
      auto* gx = gxs.row(at, buffer + 6 * d);
      const auto from = (b * heads * all + offset + l) * k;
      gq.runs(from, k, all * k, heads, incoming);
      rms_row_backward(x, weight_q, static_cast<float>(factor), incoming, gx, sums.block(i), heads, k);
      gk.runs(from, k, all * k, heads, incoming);
      rms_row_backward(x + d, weight_k, 1, incoming, gx + d, sums.block(i) + k, heads, k);
      gv.runs(from, k, all * k, heads, gx + 2 * d);
      gxs.put(at, 3 * d, gx);
    }
  });
  sums.total(0, blocks.count(), 0, k, gwq, 0);
  sums.total(0, blocks.count(), k, k, gwk, 0);
}

}  // namespace drm::fused::cpu
