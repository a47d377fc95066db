#include "nn/fused.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "cuda/kernels.h"

namespace drm::fused {

using at::Tensor;

namespace {

bool supported(at::ScalarType t) { return t == at::kFloat || t == at::kBFloat16; }

bool inference(std::initializer_list<const Tensor*> tensors) {
  if (!at::GradMode::is_enabled()) return true;
  for (const auto* t : tensors)
    if (t->requires_grad()) return false;
  return true;
}

/// x is dense, its companions have its dtype and device and their last axis is dense.
bool fits(const Tensor& x, std::initializer_list<const Tensor*> others) {
  if (!supported(x.scalar_type()) || !x.is_contiguous() || !(x.is_cpu() || x.is_cuda())) return false;
  for (const auto* t : others)
    if (t->scalar_type() != x.scalar_type() || t->device() != x.device() || t->stride(-1) != 1) return false;
  return true;
}

}  // namespace

std::optional<Tensor> modulated_norm(const Tensor& x, const Tensor& shift, const Tensor& scale) {
  if (!inference({&x, &shift, &scale}) || x.dim() != 3 || !fits(x, {&shift, &scale})) return std::nullopt;
  auto out = at::empty_like(x);
  if (x.is_cpu())
    cpu::modulated_norm(x, shift, scale, out);
  else if (!cuda::modulated_norm(x, shift, scale, out))
    return std::nullopt;
  return out;
}

std::optional<Tensor> gated_add(const Tensor& x, const Tensor& gate, const Tensor& y) {
  if (!inference({&x, &gate, &y}) || x.dim() != 3 || !fits(x, {&gate, &y}) || !y.is_contiguous()) return std::nullopt;
  auto out = at::empty_like(x);
  if (x.is_cpu())
    cpu::gated_add(x, gate, y, out);
  else if (!cuda::gated_add(x, gate, y, out))
    return std::nullopt;
  return out;
}

std::optional<Tensor> qk_norm(const Tensor& x_BHLK, const Tensor& weight) {
  if (!inference({&x_BHLK, &weight}) || x_BHLK.dim() != 4) return std::nullopt;
  const auto x = x_BHLK.transpose(1, 2);
  if (!fits(x, {&weight})) return std::nullopt;
  auto out = at::empty_like(x);
  if (x.is_cpu())
    cpu::qk_norm(x, weight, out);
  else if (!cuda::qk_norm(x, weight, out))
    return std::nullopt;
  return out.transpose(1, 2);
}

}  // namespace drm::fused
