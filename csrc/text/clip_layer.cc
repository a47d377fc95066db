#include "text/clip_layer.h"

#include <ATen/ATen.h>

#include "nn/attention.h"

namespace drm {

ConfigReader clip_tower_section(const Json& json, const std::string& path, const char* section) {
  const auto* nested = json.find(section);
  return {nested && nested->is_object() && !json.find("hidden_size") ? *nested : json, path};
}

ClipTowerConfig read_clip_tower(const ConfigReader& r) {
  ClipTowerConfig c;
  c.hidden_size = r.integer("hidden_size");
  c.intermediate_size = r.integer("intermediate_size");
  c.num_hidden_layers = r.integer("num_hidden_layers");
  c.num_attention_heads = r.integer("num_attention_heads");
  c.projection_dim = r.integer("projection_dim", c.hidden_size);
  c.layer_norm_eps = r.number("layer_norm_eps", 1e-5);
  const auto act = r.string("hidden_act", "quick_gelu");
  if (act != "quick_gelu" && act != "gelu")
    throw Failure(Code::BadConfig,
                  "[config] hidden_act in " + r.file() + ": expected quick_gelu or gelu, found " + act);
  c.quick_gelu = act == "quick_gelu";
  if (c.hidden_size < 1 || c.hidden_size > 65536 || c.num_attention_heads < 1 ||
      c.hidden_size % c.num_attention_heads || c.num_hidden_layers < 1 || c.num_hidden_layers > 1000 ||
      c.intermediate_size < 1 || c.intermediate_size > (1 << 20) || c.projection_dim < 1 || c.projection_dim > 65536)
    throw Failure(Code::BadConfig, "[config] " + r.file() +
                                       ": expected positive sizes with hidden_size a multiple of num_attention_heads; "
                                       "compare with the model's original config.json");
  return c;
}

std::vector<ClipLayer> make_clip_layers(const ClipTowerConfig& config) {
  const auto d = config.hidden_size;
  std::vector<ClipLayer> layers;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    layers.push_back({make_norm(d), make_norm(d), make_linear(d, d), make_linear(d, d), make_linear(d, d),
                      make_linear(d, d), make_linear(d, config.intermediate_size),
                      make_linear(config.intermediate_size, d)});
  return layers;
}

Tensor clip_layer(const ClipLayer& l, const ClipTowerConfig& config, const Tensor& x, bool causal) {
  const auto h = layer_norm(l.norm1, x, config.layer_norm_eps);
  const auto a = attend(split_heads(linear(l.q, h), config.num_attention_heads),
                        split_heads(linear(l.k, h), config.num_attention_heads),
                        split_heads(linear(l.v, h), config.num_attention_heads), causal);
  const auto y = x + linear(l.out, merge_heads(a));
  const auto f = linear(l.fc1, layer_norm(l.norm2, y, config.layer_norm_eps));
  // Quick GELU, f * sigmoid(1.702 f), by way of silu, which libtorch computes in one pass each way.
  return y + linear(l.fc2, config.quick_gelu ? at::silu(1.702 * f) / 1.702 : at::gelu(f));
}

}  // namespace drm
