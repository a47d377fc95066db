#include "nn/attention.h"

#include <ATen/ATen.h>

#include "nn/fused.h"

namespace drm {

using at::Tensor;

Tensor split_heads(const Tensor& x_BLD, int64_t heads) {
  return x_BLD.view({x_BLD.size(0), x_BLD.size(1), heads, -1}).transpose(1, 2);
}

Tensor merge_heads(const Tensor& x_BHLK) { return x_BHLK.transpose(1, 2).flatten(2); }

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, bool causal, const Tensor& bias, double scale) {
  return at::scaled_dot_product_attention(q, k, v, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, 0.0,
                                          causal, scale == 0 ? std::nullopt : std::optional<double>(scale));
}

Tensor qk_norm(const Tensor& x, const Tensor& weight) {
  if (auto y = fused::qk_norm(x, weight)) return *y;
  return composite::qk_norm(x, weight);
}

Tensor composite::qk_norm(const Tensor& x, const Tensor& weight) {
  auto y = x.to(at::kFloat);
  y = y * at::rsqrt(y.square().mean(-1, true) + 1e-6);
  return y.to(weight.scalar_type()) * weight;
}

}  // namespace drm
