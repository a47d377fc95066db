// Linear layers that read the same input as one product, with or without adapters.
#pragma once
#include <optional>
#include <vector>

#include "nn/layers.h"

namespace drm {

/// The layers' results side by side: x (..., in) -> (..., sum of out). Of several layers, the backward sums their
/// gradients of x before it rounds.
Tensor linear_at_once(const std::vector<const Linear*>& layers, const Tensor& x);

/// The same by weights that each layer's one adapter is folded into for the moment, W + scale B A, where that loses
/// nothing and costs less than applying adapters to each row: all in fp32, the base frozen, more rows than in out / (in
/// + out). Nothing elsewhere, and where no adapter counts.
std::optional<Tensor> linear_with_folded_adapters(const std::vector<const Linear*>& layers, const Tensor& x);

}  // namespace drm
