#include "models/sd3/sd3.h"

#include "models/sd3/keys.h"
#include "models/sd3/prompt.h"

namespace drm {
namespace {

constexpr const char* kClassName = "SD3Transformer2DModel";
constexpr const char* kBlocks = "transformer_blocks.";

VelocityModelInfo describe(const MMDiTConfig& c) {
  return {kClassName,    c.in_channels, c.out_channels, c.patch_size,          c.pos_embed_max_size,
          c.sample_size, c.num_layers,  c.width(),      c.joint_attention_dim, c.pooled_projection_dim,
          kBlocks};
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

void Sd3::each_leaf(const LeafVisitor& visit) {
  each(network_, [&](const std::string& name, auto& leaf) { visit(name, &leaf); });
}

}  // namespace drm
