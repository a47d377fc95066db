// The CPU twin of csrc/cuda/branch.cu. A thread takes runs of one image's elements: the run's mean is computed once
// into a buffer that stays in the first-level cache, and each candidate's noise is drawn beside it, used and forgotten.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <bit>

#include "common/grain.h"
#include "common/multiversion.h"
#include "flow/branch.h"
#include "random/normal_row.h"

namespace drm::fused::cpu {
namespace {

using at::Tensor;

constexpr int64_t kRun = 1024;  // elements; four to a block of Philox

DRM_MULTIVERSION void widen_row(const uint16_t* from, float* to, int64_t n) {
  _Pragma("omp simd") for (int64_t i = 0; i < n; ++i) to[i] =
      std::bit_cast<float>(static_cast<uint32_t>(from[i]) << 16);
}

struct Coefficients {
  float scale, cx, cv;
};
DRM_MULTIVERSION void mean_row(const float* x, const float* u, const float* c, Coefficients by, float* mean,
                               int64_t n) {
  if (u) {
    _Pragma("omp simd") for (int64_t i = 0; i < n; ++i) mean[i] =
        by.cx * x[i] + by.cv * (u[i] + by.scale * (c[i] - u[i]));
  } else {
    _Pragma("omp simd") for (int64_t i = 0; i < n; ++i) mean[i] = by.cx * x[i] + by.cv * c[i];
  }
}

/// mean + deviation * noise.
DRM_MULTIVERSION void candidate_row(const float* mean, const float* noise, float deviation, float* to, int64_t n) {
  _Pragma("omp simd") for (int64_t i = 0; i < n; ++i) to[i] = mean[i] + deviation * noise[i];
}

/// n values of a tensor in fp32 or bf16 from element `at` on, in fp32: its own memory, or `buffer`. Null for none.
const float* row(const Tensor& t, int64_t at, int64_t n, float* buffer) {
  if (!t.defined()) return nullptr;
  if (t.scalar_type() == at::kFloat) return t.const_data_ptr<float>() + at;
  widen_row(static_cast<const uint16_t*>(t.const_data_ptr()) + at, buffer, n);
  return buffer;
}

}  // namespace

void branch(const Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, const Tensor& keys,
            int64_t step_index, Tensor& candidates) {
  const auto batch = x.size(0), k = candidates.size(1), n = batch ? x.numel() / batch : 0;
  const auto runs = (n + kRun - 1) / kRun;
  const Coefficients by{static_cast<float>(velocity.scale), static_cast<float>(step.cx), static_cast<float>(step.cv)};
  const auto deviation = static_cast<float>(step.noise_std);
  const auto* xs = x.const_data_ptr<float>();
  const auto* key = keys.const_data_ptr<int64_t>();
  auto* to = candidates.mutable_data_ptr<float>();
  const auto grain = std::max<int64_t>(1, kGrain / (std::min(n, kRun) * k + 1));
  at::parallel_for(0, batch * runs, grain, [&](int64_t begin, int64_t end) {
    float u[kRun], c[kRun], mean[kRun], noise[kRun];
    for (int64_t i = begin; i < end; ++i) {
      const auto b = i / runs, first = i % runs * kRun, length = std::min(kRun, n - first), at = b * n + first;
      mean_row(xs + at, row(velocity.unconditional, at, length, u), row(velocity.conditional, at, length, c), by, mean,
               length);
      Draw draw{static_cast<uint64_t>(key[2 * b]), Purpose::Branch, static_cast<uint32_t>(step_index),
                static_cast<uint32_t>(key[2 * b + 1])};
      for (int64_t j = 0; j < k; ++j) {
        draw.candidate = static_cast<uint32_t>(j);
        normal_row(draw, static_cast<uint32_t>(first / 4), (length + 3) / 4, noise);
        candidate_row(mean, noise, deviation, to + (b * k + j) * n + first, length);
      }
    }
  });
}

}  // namespace drm::fused::cpu
