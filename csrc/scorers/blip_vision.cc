#include "scorers/blip_vision.h"

#include <ATen/ATen.h>

#include "nn/attention.h"

namespace drm {
namespace {

constexpr int64_t kBlipChannels = 3;

Tensor blip_vision_layer(const BlipVisionLayer& l, const BlipVisionConfig& k, const Tensor& x) {
  const auto parts = linear(l.qkv, layer_norm(l.norm1, x, k.layer_norm_eps)).chunk(3, -1);
  const auto heads = [&](size_t i) { return split_heads(parts[i], k.num_attention_heads); };
  const auto y = x + linear(l.out, merge_heads(attend(heads(0), heads(1), heads(2))));
  return y + linear(l.fc2, at::gelu(linear(l.fc1, layer_norm(l.norm2, y, k.layer_norm_eps))));
}

}  // namespace

BlipVisionConfig read_blip_vision_config(const ConfigReader& vision) {
  BlipVisionConfig c{read_block_sizes(vision)};
  c.image_size = vision.integer("image_size");
  c.patch_size = vision.integer("patch_size");
  if (c.patch_size < 1 || c.image_size < c.patch_size || c.image_size > 4096 || c.image_size % c.patch_size)
    throw Failure(Code::BadConfig, "[config] " + vision.file() +
                                       ": expected an image_size of at most 4096 that patch_size divides, found " +
                                       std::to_string(c.image_size) + " and " + std::to_string(c.patch_size) +
                                       "; compare with the model's original config.json");
  return c;
}

BlipVision make_blip_vision(const BlipVisionConfig& config) {
  const auto d = config.hidden_size;
  BlipVision v;
  v.config = config;
  v.class_token = make_parameter({1, 1, d});
  v.positions = make_parameter({1, 1 + config.patches(), d});
  v.patch = make_conv(kBlipChannels, d, config.patch_size);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    v.layers.push_back({make_norm(d), make_linear(d, 3 * d), make_linear(d, d), make_norm(d),
                        make_linear(d, config.intermediate_size), make_linear(config.intermediate_size, d)});
  v.norm = make_norm(d);
  return v;
}

Tensor blip_vision_forward(const BlipVision& v, const Tensor& pixels) {
  const auto& k = v.config;
  if (pixels.dim() != 4 || pixels.size(1) != kBlipChannels || pixels.size(2) != k.image_size ||
      pixels.size(3) != k.image_size)
    throw Failure(Code::BadRequest, "[blip] pixels: expected (batch, 3, " + std::to_string(k.image_size) + ", " +
                                        std::to_string(k.image_size) + "), found " + c10::str(pixels.sizes()));
  const auto patches =
      conv2d(v.patch, pixels.to(v.patch.weight.scalar_type()), k.patch_size, 0).flatten(2).transpose(1, 2);
  auto x = at::cat({v.class_token.value.expand({pixels.size(0), 1, k.hidden_size}), patches}, 1) + v.positions.value;
  for (const auto& layer : v.layers) x = blip_vision_layer(layer, k, x);
  return layer_norm(v.norm, x, k.layer_norm_eps);
}

}  // namespace drm
