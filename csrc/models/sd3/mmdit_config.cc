// Sizes of an MMDiT, by its config.json or by the shapes of a checkpoint.
#include <cmath>

#include "models/sd3/mmdit.h"
#include "tensor_io/config_reader.h"

namespace drm {

MMDiTConfig read_mmdit_config(const std::string& path) {
  std::shared_ptr<Json> json;
  return read_mmdit_config(ConfigReader::read(path, json));
}

MMDiTConfig read_mmdit_config(const ConfigReader& r) {
  const auto& path = r.file();
  r.expect("_class_name", "SD3Transformer2DModel");
  MMDiTConfig c;
  c.patch_size = r.integer("patch_size", 2);
  c.in_channels = r.integer("in_channels", 16);
  c.out_channels = r.integer("out_channels", c.in_channels);
  c.num_layers = r.integer("num_layers");
  c.head_dim = r.integer("attention_head_dim");
  c.heads = r.integer("num_attention_heads");
  c.joint_attention_dim = r.integer("joint_attention_dim", 4096);
  c.pooled_projection_dim = r.integer("pooled_projection_dim", 2048);
  c.pos_embed_max_size = r.integer("pos_embed_max_size", 96);
  c.sample_size = r.integer("sample_size", 128);
  c.dual_attention_layers = r.integers("dual_attention_layers", {});
  const auto norm = r.string("qk_norm", "");
  if (!norm.empty()) r.expect("qk_norm", "rms_norm");
  c.qk_norm = !norm.empty();
  if (r.integer("caption_projection_dim", c.width()) != c.width())
    throw Failure(Code::BadConfig,
                  "[config] caption_projection_dim in " + path + ": expected " + std::to_string(c.width()) +
                      " (num_attention_heads * attention_head_dim), found " +
                      std::to_string(r.integer("caption_projection_dim")) + "; is this an SD3 transformer?");
  const auto positive = [&](const char* key, int64_t value, int64_t limit) {
    if (value < 1 || value > limit)
      throw Failure(Code::BadConfig, std::string("[config] ") + key + " in " + path + ": expected 1 to " +
                                         std::to_string(limit) + ", found " + std::to_string(value) +
                                         "; compare with the model's original config.json");
  };
  positive("patch_size", c.patch_size, 64);
  positive("in_channels", c.in_channels, 4096);
  positive("out_channels", c.out_channels, 4096);
  positive("num_layers", c.num_layers, 1000);
  positive("attention_head_dim", c.head_dim, 4096);
  positive("num_attention_heads", c.heads, 4096);
  positive("joint_attention_dim", c.joint_attention_dim, 1 << 20);
  positive("pooled_projection_dim", c.pooled_projection_dim, 1 << 20);
  positive("pos_embed_max_size", c.pos_embed_max_size, 1 << 14);
  positive("sample_size", c.sample_size, 1 << 14);
  return c;
}

MMDiTConfig infer_mmdit_config(const Weights& weights) {
  const auto shape = [&](const std::string& key) -> const std::vector<int64_t>& {
    const auto it = weights.entries().find(key);
    if (it == weights.entries().end())
      throw Failure(Code::BadFile, "[load] " + weights.description() +
                                       ": expected the transformer of SD3 or SD3.5, found no " + key +
                                       "; give the diffusers folder, or the original single file");
    return it->second.info.shape;
  };
  MMDiTConfig c;
  const auto& patch = shape("pos_embed.proj.weight");
  const auto& positions = shape("pos_embed.pos_embed");
  const auto& out = shape("proj_out.weight");
  if (patch.size() != 4 || positions.size() != 3 || out.size() != 2)
    throw Failure(Code::BadFile, "[load] " + weights.description() +
                                     ": patch embedding, positions or output have an unexpected number of axes");
  const int64_t width = patch[0];
  c.in_channels = patch[1];
  c.patch_size = patch[2];
  c.out_channels = out[0] / (c.patch_size * c.patch_size);
  c.pos_embed_max_size = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(positions[1]))));
  c.joint_attention_dim = shape("context_embedder.weight").back();
  c.pooled_projection_dim = shape("time_text_embed.text_embedder.linear_1.weight").back();
  for (c.num_layers = 0; weights.has("transformer_blocks." + std::to_string(c.num_layers) + ".attn.to_q.weight");
       ++c.num_layers)
    if (weights.has("transformer_blocks." + std::to_string(c.num_layers) + ".attn2.to_q.weight"))
      c.dual_attention_layers.push_back(c.num_layers);
  c.qk_norm = weights.has("transformer_blocks.0.attn.norm_q.weight");
  c.head_dim = c.qk_norm ? shape("transformer_blocks.0.attn.norm_q.weight").back() : 64;  // all SD3 releases have 64
  c.heads = width / c.head_dim;
  if (c.num_layers == 0 || c.heads * c.head_dim != width)
    throw Failure(Code::BadFile, "[load] " + weights.description() + ": expected SD3 transformer blocks, found " +
                                     std::to_string(c.num_layers) + " blocks of width " + std::to_string(width));
  return c;
}

}  // namespace drm
