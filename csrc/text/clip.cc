#include "text/clip.h"

#include <ATen/ATen.h>

#include "tensor_io/config_reader.h"

namespace drm {

ClipConfig read_clip_config(const std::string& path) {
  const auto json = Json::read(path);
  return read_clip_config(clip_tower_section(json, path, "text_config"));
}

ClipConfig read_clip_config(const ConfigReader& text) {
  ClipConfig c{read_clip_tower(text)};
  c.vocab_size = text.integer("vocab_size", 49408);
  c.max_position_embeddings = text.integer("max_position_embeddings", 77);
  c.eos_token_id = text.integer("eos_token_id", 2);
  if (c.vocab_size < 1 || c.vocab_size > (1 << 24) || c.max_position_embeddings < 1 ||
      c.max_position_embeddings > 65536)
    throw Failure(Code::BadConfig, "[config] " + text.file() +
                                       ": expected a positive vocab_size and max_position_embeddings; compare with the "
                                       "model's original config.json");
  return c;
}

ClipConfig infer_clip_config(const Weights& weights) {
  const auto it = weights.entries().find("text_model.embeddings.token_embedding.weight");
  if (it == weights.entries().end() || it->second.info.shape.size() != 2)
    throw Failure(Code::BadFile,
                  "[load] " + weights.description() +
                      ": expected a CLIP text encoder, found no text_model.embeddings.token_embedding.weight");
  ClipConfig c;
  c.vocab_size = it->second.info.shape[0];
  c.hidden_size = it->second.info.shape[1];
  c.intermediate_size = 4 * c.hidden_size;
  c.num_attention_heads = std::max<int64_t>(1, c.hidden_size / 64);
  const bool g = c.hidden_size == 1280;
  if (!g && c.hidden_size != 768)
    throw Failure(Code::BadFile,
                  "[load] " + weights.description() + ": expected CLIP-L (width 768) or CLIP-G (1280), found width " +
                      std::to_string(c.hidden_size) + "; give its config.json by using a diffusers folder");
  c.num_hidden_layers = g ? 32 : 12;
  c.projection_dim = c.hidden_size;
  c.quick_gelu = !g;
  return c;
}

Clip make_clip(const ClipConfig& config) {
  const auto d = config.hidden_size;
  Clip c;
  c.config = config;
  c.tokens = make_table(config.vocab_size, d);
  c.positions = make_table(config.max_position_embeddings, d);
  c.layers = make_clip_layers(config);
  c.final_norm = make_norm(d);
  c.projection = make_linear(d, config.projection_dim, false);
  return c;
}

void load_clip(Clip& c, const Weights& weights, at::ScalarType dtype, at::Device device,
               const std::function<void(uint64_t, uint64_t)>& progress) {
  const auto ignorable = [](const std::string& key) {
    return key == "text_model.embeddings.position_ids" || key == "logit_scale" || key == "visual_projection.weight" ||
           key.rfind("vision_model.", 0) == 0;
  };
  weights.fill(wanted(c), dtype, device, ignorable, "", progress);
}

ClipOutput clip_forward(const Clip& c, const Tensor& ids, const Observer* observer) {
  const auto& k = c.config;
  const auto length = ids.size(1);
  if (length > k.max_position_embeddings)
    throw Failure(Code::BadRequest, "[clip] " + std::to_string(length) + " tokens: expected at most " +
                                        std::to_string(k.max_position_embeddings));
  // A read-back of two numbers, once a prompt: an id outside the table would be undefined behaviour on a GPU.
  if (ids.numel() && (ids.min().item<int64_t>() < 0 || ids.max().item<int64_t>() >= k.vocab_size))
    throw Failure(Code::BadRequest, "[clip] token id " + std::to_string(ids.max().item<int64_t>()) +
                                        ": the encoder's vocabulary has " + std::to_string(k.vocab_size) +
                                        " entries; tokenizer and encoder do not belong together");
  auto x = look_up(c.tokens, ids) + c.positions.weight.narrow(0, 0, length);
  ClipOutput out;
  for (size_t i = 0; i < c.layers.size(); ++i) {
    if (observer) (*observer)("hidden_states." + std::to_string(i), x);
    if (i + 1 == c.layers.size()) out.penultimate = x;
    x = clip_layer(c.layers[i], k, x, true);
  }
  if (observer) (*observer)("hidden_states." + std::to_string(c.layers.size()), x);
  out.last = layer_norm(c.final_norm, x, k.layer_norm_eps);
  const auto position = k.eos_token_id == 2 ? ids.argmax(-1) : ids.eq(k.eos_token_id).to(at::kInt).argmax(-1);
  const auto rows = at::arange(ids.size(0), ids.options());
  out.pooled = linear(c.projection, out.last.index({rows, position}));
  return out;
}

}  // namespace drm
