#include "flow/timesteps.h"

#include <ATen/ATen.h>

namespace drm {

at::Tensor distribute(const TimestepDistribution& d, const at::Tensor& uniform) {
  const auto u = uniform.to(at::kDouble);
  return d.logit_normal ? at::sigmoid(d.mean + d.deviation * at::special_ndtri(u)) : u;
}

NoiseLevels look_up_levels(const Schedule& table, const at::Tensor& t) {
  const auto n = static_cast<int64_t>(table.timesteps.size());
  const auto index = at::floor(t.to(at::kDouble) * static_cast<double>(n)).to(at::kLong).clamp(0, n - 1);
  const auto entries = [&](const std::vector<float>& values) {
    return at::tensor(at::ArrayRef<float>(values.data(), static_cast<size_t>(n))).to(t.device()).index_select(0, index);
  };
  return {entries(table.sigmas), entries(table.timesteps)};
}

}  // namespace drm
