// CLIP's image tower with projection (Radford et al. 2021; reference: transformers' CLIPVisionModelWithProjection).
// Shapes: B batch, S image edge, N patches, D width, P projection width.
#pragma once
#include <array>
#include <optional>

#include "text/clip_layer.h"

namespace drm {

struct ClipVisionConfig : ClipTowerConfig {
  int64_t image_size = 224, patch_size = 14, num_channels = 3;
  int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

/// Reads a transformers config.json (also one with a nested vision_config). Throws Failure(BadConfig | BadFile).
ClipVisionConfig read_clip_vision_config(const std::string& path);
ClipVisionConfig read_clip_vision_config(const ConfigReader& vision);

struct ClipVision {
  ClipVisionConfig config;
  Parameter class_embedding;  // (D)
  Conv2d patch;               // no bias
  Table positions;            // (1 + N, D)
  Norm pre_norm;
  std::vector<ClipLayer> layers;
  Norm post_norm;
  Linear projection;  // no bias
};

ClipVision make_clip_vision(const ClipVisionConfig& config);
/// As initialize_clip() does it.
void initialize_clip_vision(ClipVision& v, at::Generator generator);
/// Whether a CLIP's file has this key for something else than the image tower: the text tower, the temperature.
bool beside_clip_vision(const std::string& key);
void load_clip_vision(ClipVision& v, const Weights& weights, at::ScalarType dtype, at::Device device,
                      const std::function<void(uint64_t, uint64_t)>& progress = {});

struct ClipVisionOutput {
  Tensor last;    // (B, 1 + N, D) last layer, without the post norm
  Tensor pooled;  // (B, D) class token through the post norm
  Tensor embeds;  // (B, P) projected
};

/// pixels (B, 3, S, S) after clip_pixels, fp32. Throws Failure(BadRequest) for another size.
/// Observer names: "hidden_states.<i>" (0 = embeddings after the pre norm).
/// kept (B, M), int64: the patches that an image is seen by, for patch dropout in training (Li et al. 2023, "FLIP");
/// N is then M in the output's shapes.
ClipVisionOutput clip_vision_forward(const ClipVision& v, const Tensor& pixels, const Observer* observer = nullptr,
                                     const std::optional<Tensor>& kept = {});

/// x / |x| along the last axis, in fp32.
Tensor unit(const Tensor& x);
/// Unit vectors (B, P) in fp32 of pixels and kept as clip_vision_forward takes them.
Tensor clip_image_features(const ClipVision& v, const Tensor& pixels, const std::optional<Tensor>& kept = {});

inline constexpr std::array<double, 3> kClipMean = {0.48145466, 0.4578275, 0.40821073};
inline constexpr std::array<double, 3> kClipDeviation = {0.26862954, 0.26130258, 0.27577711};
/// 8-bit images (B, H, W, 3) to what CLIP was trained on: (B, 3, H, W) fp32, (x / 255 - mean) / std.
Tensor clip_pixels(const Tensor& images_BHWC);

template <class V>
void each_vision_model(ClipVision& v, V&& visit) {
  const std::string vision = "vision_model.";
  visit(vision + "embeddings.class_embedding", v.class_embedding);
  visit(vision + "embeddings.patch_embedding", v.patch);
  visit(vision + "embeddings.position_embedding", v.positions);
  visit(vision + "pre_layrnorm", v.pre_norm);  // transformers' spelling
  each(v.layers, vision, visit);
  visit(vision + "post_layernorm", v.post_norm);
}

template <class V>
void each(ClipVision& v, V&& visit) {
  each_vision_model(v, visit);
  visit("visual_projection", v.projection);
}

}  // namespace drm
