// Qwen2-VL's image tower (Wang et al. 2024; reference: transformers' Qwen2VisionTransformerPretrainedModel): patches at
// an image's own size, rotary positions in two dimensions, and a merger that makes one token of a block of patches.
// Shapes: P patches of all images, D width, H heads, K channels of a head, M patches of a block, T text width.
#pragma once
#include <string>
#include <vector>

#include "nn/layers.h"
#include "scorers/qwen2_pixels.h"
#include "tensor_io/config_reader.h"

namespace drm {

struct Qwen2VisionConfig {
  int64_t depth = 32, embed_dim = 1280, num_heads = 16, mlp_width = 5120, in_channels = 3;
  int64_t patch_size = 14, spatial_merge_size = 2, temporal_patch_size = 2;
  int64_t hidden_size = 3584;  // T
  int64_t block_patches() const { return spatial_merge_size * spatial_merge_size; }
};

/// Reads the vision_config of a transformers Qwen2VLConfig. Throws Failure(BadConfig).
Qwen2VisionConfig read_qwen2_vision_config(const ConfigReader& r);

struct Qwen2VisionBlock {
  Norm norm1, norm2;  // layer norms
  Linear qkv, proj, fc1, fc2;
};

struct Qwen2Vision {
  Qwen2VisionConfig config;
  Parameter patch;  // (D, 3, frames, patch, patch): a 3-D convolution that strides by its kernel, so one product
  std::vector<Qwen2VisionBlock> blocks;
  Norm merger_norm;
  Linear merger_fc1, merger_fc2;  // (M D, M D), (T, M D)
};

Qwen2Vision make_qwen2_vision(const Qwen2VisionConfig& config);

/// patches (P, 3 * frames * patch * patch) of images one after the other, fp32, as qwen2_patches() gives them, and each
/// image's grid -> tokens (P / M, T), fp32. Attention stays within an image; sums over blocks are fp32. Observer names:
/// "vision_block<i>".
Tensor qwen2_vision_forward(const Qwen2Vision& v, const Tensor& patches, const std::vector<PatchGrid>& grids,
                            const Observer* observer = nullptr);

template <class V>
void each(Qwen2Vision& v, const std::string& prefix, V&& visit) {
  visit(prefix + "patch_embed.proj.weight", v.patch);
  for (size_t i = 0; i < v.blocks.size(); ++i) {
    const auto n = prefix + "blocks." + std::to_string(i) + ".";
    auto& b = v.blocks[i];
    visit(n + "norm1", b.norm1);
    visit(n + "norm2", b.norm2);
    visit(n + "attn.qkv", b.qkv);
    visit(n + "attn.proj", b.proj);
    visit(n + "mlp.fc1", b.fc1);
    visit(n + "mlp.fc2", b.fc2);
  }
  visit(prefix + "merger.ln_q", v.merger_norm);
  visit(prefix + "merger.mlp.0", v.merger_fc1);
  visit(prefix + "merger.mlp.2", v.merger_fc2);
}

}  // namespace drm
