// The CPU twin of csrc/cuda/branch.cu. A thread takes runs of one picture's elements: the run's mean is computed once
// into a buffer that stays in the first-level cache, and each candidate's noise is drawn beside it, used and forgotten.
// Runs depend on the shape alone and their sums are added in order, so results do not depend on the number of threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <vector>

#include "common/multiversion.h"
#include "flow/branch.h"
#include "random/normal_row.h"

namespace drm::fused::cpu {
namespace {

using at::Tensor;

constexpr int64_t kRun = 1024;     // elements; four to a block of Philox
constexpr int64_t kGrain = 16384;  // numbers a thread should draw at least

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

/// Writes mean + deviation * noise; returns the sum of squared distances of what was written from the mean.
DRM_MULTIVERSION float candidate_row(const float* mean, const float* noise, float deviation, float* to, int64_t n) {
  float squares = 0;
  _Pragma("omp simd reduction(+ : squares)") for (int64_t i = 0; i < n; ++i) {
    const float value = mean[i] + deviation * noise[i], distance = value - mean[i];
    to[i] = value;
    squares += distance * distance;
  }
  return squares;
}

/// n values of a tensor in fp32 or bf16 from element `at` on, in fp32: its own memory, or `buffer`. Null for none.
const float* row(const Tensor& t, int64_t at, int64_t n, float* buffer) {
  if (!t.defined()) return nullptr;
  if (t.scalar_type() == at::kFloat) return t.const_data_ptr<float>() + at;
  widen_row(static_cast<const uint16_t*>(t.const_data_ptr()) + at, buffer, n);
  return buffer;
}

int64_t greedy(const float* r, int64_t k) {
  int64_t best = -1;
  for (int64_t i = 0; i < k; ++i)
    if (!std::isnan(r[i]) && (best < 0 || r[i] > r[best])) best = i;
  return best;
}

/// `best` is the greedy choice, -1 when all are NaN.
int64_t drawn(const float* r, int64_t k, int64_t best, double temperature, double uniform) {
  const bool all_equal = best < 0 || std::isinf(r[best]);
  const auto weight = [&](int64_t i) {
    if (best < 0) return 1.0;
    if (std::isnan(r[i])) return 0.0;
    if (all_equal) return r[i] == r[best] ? 1.0 : 0.0;
    return std::exp((static_cast<double>(r[i]) - r[best]) / temperature);
  };
  double total = 0, reached = 0;
  for (int64_t i = 0; i < k; ++i) total += weight(i);
  int64_t last = 0;
  for (int64_t i = 0; i < k; ++i) {
    const double p = weight(i) / total;
    if (!(p > 0)) continue;
    reached += p;
    last = i;
    if (reached > uniform) break;
  }
  return last;
}

}  // namespace

void branch(const Tensor& x, const Guided& velocity, const SdeStep& step, const Tensor& keys, int64_t step_index,
            Branches& out) {
  const auto batch = x.size(0), k = out.candidates.size(1), n = batch ? x.numel() / batch : 0;
  const auto runs = (n + kRun - 1) / kRun;
  const Coefficients by{static_cast<float>(velocity.scale), static_cast<float>(step.cx), static_cast<float>(step.cv)};
  const auto deviation = static_cast<float>(step.noise_std);
  const auto* xs = x.const_data_ptr<float>();
  const auto* key = keys.const_data_ptr<int64_t>();
  auto* to = out.candidates.mutable_data_ptr<float>();
  std::vector<float> squares(static_cast<size_t>(batch * runs * k));
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
        squares[static_cast<size_t>(i * k + j)] =
            candidate_row(mean, noise, deviation, to + (b * k + j) * n + first, length);
      }
    }
  });
  const double variance = step.noise_std * step.noise_std;
  const double constant = std::log(step.noise_std) + 0.5 * std::log(2 * std::numbers::pi);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t j = 0; j < k; ++j) {
      double sum = 0;
      for (int64_t r = 0; r < runs; ++r)
        sum += static_cast<double>(squares[static_cast<size_t>((b * runs + r) * k + j)]);
      out.log_prob.mutable_data_ptr<float>()[b * k + j] =
          static_cast<float>(-sum / (2 * variance * static_cast<double>(n)) - constant);
    }
}

void select(const Tensor& candidates, const Tensor& rewards, const Choice& choice, int64_t step_index, Tensor& lost,
            Selected& out) {
  const auto batch = candidates.size(0), k = candidates.size(1), n = batch ? candidates.numel() / (batch * k) : 0;
  const auto* from = candidates.const_data_ptr<float>();
  auto* to = out.latents.mutable_data_ptr<float>();
  at::parallel_for(0, batch, std::max<int64_t>(1, kGrain / (n + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const auto* r = rewards.const_data_ptr<float>() + b * k;
      auto index = greedy(r, k);
      auto& first_lost = lost.mutable_data_ptr<int32_t>()[b];
      if (index < 0 && first_lost < 0) first_lost = static_cast<int32_t>(step_index);
      if (choice.temperature > 0)
        index = drawn(r, k, index, choice.temperature, choice.uniforms.const_data_ptr<float>()[b]);
      index = std::max<int64_t>(index, 0);
      out.index.mutable_data_ptr<int64_t>()[b] = index;
      std::memcpy(to + b * n, from + (b * k + index) * n, static_cast<size_t>(n) * sizeof(float));
    }
  });
}

}  // namespace drm::fused::cpu
