#include "models/sd3/sd3.h"

#include "models/sd3/keys.h"
#include "models/sd3/prompt.h"

namespace drm {
namespace {

constexpr const char* kClassName = "SD3Transformer2DModel";
constexpr const char* kBlocks = "transformer_blocks.";

VelocityModelInfo describe(const MMDiTConfig& c) {
  return {kClassName,
          c.in_channels,
          c.out_channels,
          c.patch_size,
          c.pos_embed_max_size,
          c.sample_size,
          c.num_layers,
          c.width(),
          c.joint_attention_dim,
          c.pooled_projection_dim,
          kBlocks,
          {{"num_layers", c.num_layers},
           {"num_attention_heads", c.heads},
           {"attention_head_dim", c.head_dim},
           {"in_channels", c.in_channels},
           {"patch_size", c.patch_size},
           {"joint_attention_dim", c.joint_attention_dim},
           {"pooled_projection_dim", c.pooled_projection_dim}}};
}

}  // namespace

VelocityModelConfig sd3_config(const MMDiTConfig& c) {
  return {describe(c), [c](int64_t keep_layers) { return std::make_shared<Sd3>(make_mmdit(c, keep_layers)); }};
}

Architecture sd3_architecture() {
  return {kClassName,
          kBlocks,
          [](const ConfigReader& reader) { return sd3_config(read_mmdit_config(reader)); },
          [](const Weights& weights) { return sd3_config(infer_mmdit_config(weights)); },
          [](const Weights& weights) { return weights.has("transformer_blocks.0.attn.add_k_proj.weight"); },
          read_original_sd3_keys,
          sd3_original_layers};
}

Sd3::Sd3(MMDiT network) : network_(std::move(network)), info_(describe(network_.config)) {}

PromptEmbeds Sd3::assemble(const EncodedPrompts& p) const {
  return assemble_prompt(p.clip_l, p.clip_g, p.t5, p.t5_length, info_.sequence_width);
}

TextEmbedding Sd3::embed_text(const PromptEmbeds& prompts) const {
  return drm::embed_text(network_, prompts.sequence, prompts.pooled);
}

Tensor Sd3::velocity(const Tensor& latent, const Tensor& timestep, const TextEmbedding& text,
                     const VelocityOptions& options) const {
  return drm::velocity(network_, latent, timestep, text, options);
}

PassCost Sd3::cost(int64_t patches, int64_t text_tokens) const {
  auto c = VelocityModel::cost(patches, text_tokens);
  const auto d = static_cast<double>(info_.width), image = static_cast<double>(patches);
  double dual = 0;
  for (const auto& block : network_.blocks) dual += block.dual;
  // The second attention of a dual block sees the image alone; weights are those of both streams and the modulations.
  c.operations += dual * (2 * 4 * d * d * image + 4 * image * image * d);
  c.weights = static_cast<double>(run_layers()) * (24 + 12) * d * d + dual * (4 + 3) * d * d;
  return c;
}

void Sd3::each_leaf(const LeafVisitor& visit) {
  each(network_, [&](const std::string& name, auto& leaf) { visit(name, &leaf); });
}

}  // namespace drm
