#include "scorers/clip_vision.h"

#include <ATen/ATen.h>

namespace drm {

ClipVisionConfig read_clip_vision_config(const std::string& path) {
  const auto json = Json::read(path);
  return read_clip_vision_config(clip_tower_section(json, path, "vision_config"));
}

ClipVisionConfig read_clip_vision_config(const ConfigReader& vision) {
  ClipVisionConfig c{read_clip_tower(vision)};
  c.image_size = vision.integer("image_size", 224);
  c.patch_size = vision.integer("patch_size");
  c.num_channels = vision.integer("num_channels", 3);
  if (c.patch_size < 1 || c.image_size < c.patch_size || c.image_size > 4096 || c.num_channels != 3)
    throw Failure(Code::BadConfig, "[config] " + vision.file() +
                                       ": expected an image_size of at least patch_size and 3 channels, found " +
                                       std::to_string(c.image_size) + ", " + std::to_string(c.patch_size) + " and " +
                                       std::to_string(c.num_channels) +
                                       "; compare with the model's original config.json");
  return c;
}

ClipVision make_clip_vision(const ClipVisionConfig& config) {
  const auto d = config.hidden_size;
  ClipVision v;
  v.config = config;
  v.class_embedding = make_parameter({d});
  v.patch = make_conv(config.num_channels, d, config.patch_size, false);
  v.positions = make_table(1 + config.patches(), d);
  v.pre_norm = make_norm(d);
  v.layers = make_clip_layers(config);
  v.post_norm = make_norm(d);
  v.projection = make_linear(d, config.projection_dim, false);
  return v;
}

bool beside_clip_vision(const std::string& key) {
  return key == "vision_model.embeddings.position_ids" || key == "logit_scale" || key == "text_projection.weight" ||
         key.rfind("text_model.", 0) == 0;
}

void load_clip_vision(ClipVision& v, const Weights& weights, at::ScalarType dtype, at::Device device,
                      const std::function<void(uint64_t, uint64_t)>& progress) {
  weights.fill(wanted(v), dtype, device, beside_clip_vision, "", progress);
}

ClipVisionOutput clip_vision_forward(const ClipVision& v, const Tensor& pixels, const Observer* observer,
                                     const std::optional<Tensor>& kept) {
  const auto& k = v.config;
  if (pixels.dim() != 4 || pixels.size(1) != k.num_channels || pixels.size(2) != k.image_size ||
      pixels.size(3) != k.image_size)
    throw Failure(Code::BadRequest, "[clip] pixels: expected (batch, 3, " + std::to_string(k.image_size) + ", " +
                                        std::to_string(k.image_size) + "), found " + c10::str(pixels.sizes()));
  auto patches = conv2d(v.patch, pixels.to(v.patch.weight.scalar_type()), k.patch_size, 0).flatten(2).transpose(1, 2) +
                 v.positions.weight.slice(0, 1);
  if (kept) patches = patches.gather(1, kept->unsqueeze(-1).expand({-1, -1, k.hidden_size}));
  const auto first = v.class_embedding.value.to(patches.scalar_type()) + v.positions.weight[0];
  auto x =
      layer_norm(v.pre_norm, at::cat({first.expand({pixels.size(0), 1, k.hidden_size}), patches}, 1), k.layer_norm_eps);
  for (size_t i = 0; i < v.layers.size(); ++i) {
    if (observer) (*observer)("hidden_states." + std::to_string(i), x);
    x = clip_layer(v.layers[i], k, x, false);
  }
  if (observer) (*observer)("hidden_states." + std::to_string(v.layers.size()), x);
  ClipVisionOutput out;
  out.last = x;
  out.pooled = layer_norm(v.post_norm, x.select(1, 0), k.layer_norm_eps);
  out.embeds = linear(v.projection, out.pooled);
  return out;
}

Tensor unit(const Tensor& x) {
  const auto y = x.to(at::kFloat);
  return y / y.norm(2, -1, true);
}

Tensor clip_image_features(const ClipVision& v, const Tensor& pixels, const std::optional<Tensor>& kept) {
  return unit(clip_vision_forward(v, pixels, nullptr, kept).embeds);
}

Tensor clip_pixels(const Tensor& images_BHWC) {
  const auto options = images_BHWC.options().dtype(at::kFloat);
  const auto channels = [&](const std::array<double, 3>& rgb) {
    return at::tensor(at::ArrayRef<double>(rgb), options).view({1, 3, 1, 1});
  };
  const auto x = images_BHWC.permute({0, 3, 1, 2}).to(at::kFloat) / 255.0;
  return (x - channels(kClipMean)) / channels(kClipDeviation);
}

}  // namespace drm
