// Linear layers whose weights stay in 16 bits beside fp32 activations: a model then takes half the memory, or none of
// its own where the weights are a file's mapped pages, and computes as in fp32, since widening loses nothing.
#pragma once
#include <ATen/core/Tensor.h>

namespace drm {

/// Whether weight and x ask for it: x is fp32, the weight bf16 or fp16, and no autocast will round x.
bool needs_widening(const at::Tensor& weight, const at::Tensor& x);
/// x W^t + b in fp32, W (out, in) widened some rows at a time, so that at most 64 MiB of it are wide at once. `bias`
/// may be undefined.
at::Tensor linear_widened(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& x);

}  // namespace drm
