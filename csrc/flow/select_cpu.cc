// The CPU twin of csrc/cuda/select.cu.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <cstring>

#include "common/grain.h"
#include "flow/select.h"

namespace drm::fused::cpu {
namespace {

using at::Tensor;

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

void select(const Tensor& candidates, const Tensor& rewards, const Choice& choice, int64_t step_index, Tensor& unscored,
            Selected& out) {
  const auto batch = candidates.size(0), k = candidates.size(1), n = batch ? candidates.numel() / (batch * k) : 0;
  const auto* from = candidates.const_data_ptr<float>();
  auto* to = out.latents.mutable_data_ptr<float>();
  at::parallel_for(0, batch, std::max<int64_t>(1, kGrain / (n + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const auto* r = rewards.const_data_ptr<float>() + b * k;
      auto index = greedy(r, k);
      auto& first_unscored = unscored.mutable_data_ptr<int32_t>()[b];
      if (index < 0 && first_unscored < 0) first_unscored = static_cast<int32_t>(step_index);
      if (choice.temperature > 0)
        index = drawn(r, k, index, choice.temperature, choice.uniforms.const_data_ptr<float>()[b]);
      index = std::max<int64_t>(index, 0);
      out.index.mutable_data_ptr<int64_t>()[b] = index;
      std::memcpy(to + b * n, from + (b * k + index) * n, static_cast<size_t>(n) * sizeof(float));
    }
  });
}

}  // namespace drm::fused::cpu
