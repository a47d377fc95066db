#include "lora/lora_parts.h"

#include <ATen/ATen.h>

namespace drm {

bool is_block_diagonal(const at::Tensor& b) {
  if (b.size(1) % 3) return false;
  const auto out = b.size(0) / 3, rank = b.size(1) / 3;
  auto rest = b.to(at::kFloat).clone();
  for (int64_t i = 0; i < 3; ++i) rest.narrow(0, i * out, out).narrow(1, i * rank, rank).zero_();
  return rest.eq(0).all().item<bool>();
}

at::Tensor swap_halves(const at::Tensor& b) {
  const auto halves = b.chunk(2, 0);
  return at::cat({halves[1], halves[0]}, 0);
}

std::string listing(const std::vector<std::string>& names) {
  std::string s;
  for (size_t i = 0; i < names.size() && i < 8; ++i) s += (i ? ", " : "") + names[i].substr(0, 200);
  return names.size() > 8 ? s + " and " + std::to_string(names.size() - 8) + " more" : s;
}

}  // namespace drm
