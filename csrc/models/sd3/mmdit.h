// MMDiT and MMDiT-X, the velocity network of Stable Diffusion 3 and 3.5 (Esser et al. 2024, "Scaling Rectified Flow
// Transformers"; reference: diffusers' SD3Transformer2DModel). Tensor names are diffusers'.
// Shapes: B batch, C latent channels, H W latent size, L tokens, D width, P pooled width.
#pragma once
#include <string>
#include <vector>

#include "models/velocity_model.h"

namespace drm {

class ConfigReader;

struct MMDiTConfig {
  int64_t patch_size = 2, in_channels = 16, out_channels = 16;
  int64_t num_layers = 0, head_dim = 64, heads = 0;
  int64_t joint_attention_dim = 4096;    // width of the prompt embeds
  int64_t pooled_projection_dim = 2048;  // width of the pooled embeds
  int64_t pos_embed_max_size = 0;        // the position table covers this many patches a side
  int64_t sample_size = 128;             // default latent size
  std::vector<int64_t> dual_attention_layers;
  bool qk_norm = true;  // RMS norm of queries and keys (SD3.5); SD3-Medium has none
  int64_t width() const { return heads * head_dim; }
};

/// Reads a diffusers transformer/config.json. Throws Failure(BadConfig | BadFile).
MMDiTConfig read_mmdit_config(const std::string& path);
/// The same from an object inside another config.
MMDiTConfig read_mmdit_config(const ConfigReader& reader);
/// Tells the config from the shapes of a checkpoint (sample_size cannot be told: 128). Throws Failure(BadFile).
MMDiTConfig infer_mmdit_config(const Weights& weights);

struct Attention {  // one stream's side of an attention
  Linear to_q, to_k, to_v;
  Norm norm_q, norm_k;  // undefined weights without qk_norm
  Linear to_out;        // no weight in the last block's text stream; a truncated model's has no queries either
};

struct FeedForward {
  Linear proj, out;  // D -> 4D -> D, tanh-approximated GELU between
};

struct BlockStream {
  Linear ada;  // temb -> shift, scale, gate (attention), shift, scale, gate (feed-forward) [, the same for attn2]
  Attention attn;
  FeedForward ff;
};

struct JointBlock {
  BlockStream image, text;
  Attention self;  // MMDiT-X's second attention over the image alone
  bool dual = false;
  bool last = false;  // the text stream ends here: no output projection, no feed-forward, (scale, shift) norm only
  bool cut = false;   // an ordinary block that a truncated model ends with: what only the text's output needs is absent
  bool text_goes_on() const { return !last && !cut; }
};

struct MMDiT {
  MMDiTConfig config;
  Conv2d patch;      // pos_embed.proj
  Buffer positions;  // pos_embed.pos_embed (1, P * P, D)
  Linear time_1, time_2, text_1, text_2;
  Linear context;
  std::vector<JointBlock> blocks;  // the first ones of the config's, in a truncated model
  Linear norm_out, proj_out;
};

/// The structure with planned (meta) tensors. With `keep_layers` > 0 a truncated model, of the first blocks alone.
MMDiT make_mmdit(const MMDiTConfig& config, int64_t keep_layers = 0);

/// Whether a full model of m's config has a tensor of that name that m, truncated, does without.
bool is_left_out(const MMDiT& m, const std::string& key);

/// prompt embeds (B, L, joint_attention_dim), pooled embeds (B, P).
TextEmbedding embed_text(const MMDiT& m, const Tensor& prompt_embeds, const Tensor& pooled_embeds);

/// Velocity noise - x_0 (Eq. 2) of noisy latents; of a truncated model, features in the velocity's form. latent (B, C,
/// H, W) in the model's dtype, timestep (B) in [0, 1000] fp32, text for B rows -> (B, C_out, H, W). Throws
/// Failure(BadRequest) when H or W is no multiple of the patch or exceeds the position table.
Tensor velocity(const MMDiT& m, const Tensor& latent, const Tensor& timestep, const TextEmbedding& text,
                const VelocityOptions& options = {});

/// A guess at which release the weights are of, where their width is not the config's; else nothing.
std::string guess_release(const MMDiT& m, const Weights& weights);

/// DiT's scheme (Peebles and Xie 2023, "adaLN-Zero"): matrices Xavier-uniform, embedders normal with deviation 0.02,
/// modulations and the output layer zero, so that every block starts as the identity. Fills the position table.
void initialize_mmdit(MMDiT& m, at::Generator generator);

/// The sinusoidal position table that diffusers stores, (1, P * P, D) fp32; for models that are made anew.
Tensor position_table(const MMDiTConfig& config);

template <class V>
void each(const std::string& name, Attention& a, bool qk_norm, const char* q, const char* k, const char* v,
          const char* norm_q, const char* norm_k, const char* out, V&& visit) {
  const bool queries = a.to_q.weight.defined();
  if (queries) visit(name + q, a.to_q);
  visit(name + k, a.to_k);
  visit(name + v, a.to_v);
  if (qk_norm) {
    if (queries) visit(name + norm_q, a.norm_q);
    visit(name + norm_k, a.norm_k);
  }
  if (a.to_out.weight.defined()) visit(name + out, a.to_out);
}

template <class V>
void each(const std::string& name, JointBlock& b, bool qk_norm, V&& visit) {
  visit(name + "norm1.linear", b.image.ada);
  visit(name + "norm1_context.linear", b.text.ada);
  each(name + "attn.", b.image.attn, qk_norm, "to_q", "to_k", "to_v", "norm_q", "norm_k", "to_out.0", visit);
  each(name + "attn.", b.text.attn, qk_norm, "add_q_proj", "add_k_proj", "add_v_proj", "norm_added_q", "norm_added_k",
       "to_add_out", visit);
  if (b.dual) each(name + "attn2.", b.self, qk_norm, "to_q", "to_k", "to_v", "norm_q", "norm_k", "to_out.0", visit);
  visit(name + "ff.net.0.proj", b.image.ff.proj);
  visit(name + "ff.net.2", b.image.ff.out);
  if (b.text_goes_on()) {
    visit(name + "ff_context.net.0.proj", b.text.ff.proj);
    visit(name + "ff_context.net.2", b.text.ff.out);
  }
}

template <class V>
void each(MMDiT& m, V&& visit) {
  visit("pos_embed.proj", m.patch);
  visit("pos_embed.pos_embed", m.positions);
  visit("time_text_embed.timestep_embedder.linear_1", m.time_1);
  visit("time_text_embed.timestep_embedder.linear_2", m.time_2);
  visit("time_text_embed.text_embedder.linear_1", m.text_1);
  visit("time_text_embed.text_embedder.linear_2", m.text_2);
  visit("context_embedder", m.context);
  for (size_t i = 0; i < m.blocks.size(); ++i)
    each("transformer_blocks." + std::to_string(i) + ".", m.blocks[i], m.config.qk_norm, visit);
  visit("norm_out.linear", m.norm_out);
  visit("proj_out", m.proj_out);
}

}  // namespace drm
