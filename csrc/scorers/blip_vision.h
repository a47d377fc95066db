// BLIP's image tower (Li et al. 2022): a ViT (Dosovitskiy et al. 2021) with timm's names, whose tokens are all read on.
// Shapes: B batch, S image edge, N patches, D width.
#pragma once
#include <string>
#include <vector>

#include "text/bert.h"

namespace drm {

struct BlipVisionConfig : BlockSizes {
  int64_t image_size = 224, patch_size = 16;
  int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

/// Reads the vision_config of a transformers BlipConfig. Throws Failure(BadConfig).
BlipVisionConfig read_blip_vision_config(const ConfigReader& vision);

struct BlipVisionLayer {
  Norm norm1;
  Linear qkv;  // queries, keys and values stacked
  Linear out;
  Norm norm2;
  Linear fc1, fc2;
};

struct BlipVision {
  BlipVisionConfig config;
  Parameter class_token;  // (1, 1, D)
  Parameter positions;    // (1, 1 + N, D)
  Conv2d patch;
  std::vector<BlipVisionLayer> layers;
  Norm norm;
};

BlipVision make_blip_vision(const BlipVisionConfig& config);

/// All tokens (B, 1 + N, D) after the last norm, the class token first. pixels (B, 3, S, S) from clip_pixels.
/// Throws Failure(BadRequest) for another size.
Tensor blip_vision_forward(const BlipVision& v, const Tensor& pixels);

template <class V>
void each_blip_vision(BlipVision& v, const std::string& prefix, V&& visit) {
  visit(prefix + "cls_token", v.class_token);
  visit(prefix + "pos_embed", v.positions);
  visit(prefix + "patch_embed.proj", v.patch);
  for (size_t i = 0; i < v.layers.size(); ++i) {
    const auto n = prefix + "blocks." + std::to_string(i) + ".";
    auto& l = v.layers[i];
    visit(n + "norm1", l.norm1);
    visit(n + "attn.qkv", l.qkv);
    visit(n + "attn.proj", l.out);
    visit(n + "norm2", l.norm2);
    visit(n + "mlp.fc1", l.fc1);
    visit(n + "mlp.fc2", l.fc2);
  }
  visit(prefix + "norm", v.norm);
}

}  // namespace drm
