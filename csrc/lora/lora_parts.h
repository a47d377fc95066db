// How one adapter of a file serves several layers, or a layer that keeps its halves in another order: what reading and
// writing have in common.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace drm {

/// Whether B (3 out, 3 rank) is zero outside of three diagonal blocks: a fused projection whose thirds have ranks of
/// their own (sd-scripts' split_qkv).
bool is_block_diagonal(const at::Tensor& b);
at::Tensor swap_halves(const at::Tensor& b);
/// The first few, for a message.
std::string listing(const std::vector<std::string>& names);

}  // namespace drm
