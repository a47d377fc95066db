// Gradient checkpointing (Chen et al. 2016): a part of a network keeps its inputs only and runs again in the backward
// pass, so that memory grows with the number of parts instead of with all their activations.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace drm {

using Tensors = std::vector<at::Tensor>;

/// part(inputs), recomputed in backward. Gradients reach the inputs and whatever parameters `part` captures; the
/// second run sees the autocast state of the first. `part` must be a pure function. Without grad mode it just runs.
Tensors recomputed(std::function<Tensors(const Tensors&)> part, const Tensors& inputs);

}  // namespace drm
