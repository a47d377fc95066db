// What everything above needs of a base model's denoiser. Each kind of model is a folder below this one and a line in
// registry.cc; sampling, reward, training and LoRA know this interface alone.
// Shapes: B batch, C latent channels, H W latent size, L tokens, D width.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/text_embedding.h"
#include "nn/layers.h"
#include "text/encoded_prompts.h"

namespace drm {

/// What a model says of itself, to those who prepare its inputs.
struct VelocityModelInfo {
  std::string class_name;  // diffusers' `_class_name`
  int64_t in_channels = 0, out_channels = 0;
  int64_t patch_size = 1;         // latent sizes must be multiples of it
  int64_t most_patches = 0;       // a side
  int64_t default_size = 0;       // latent pixels a side
  int64_t layers = 0, width = 0;  // blocks of the whole model
  int64_t sequence_width = 0;     // of PromptEmbeds
  int64_t pooled_width = 0;       // 0: the model reads no pooled embeds
  std::string blocks;             // what the names of a block's leaves begin with: "transformer_blocks."
  /// What another model must equal it in to read its latents and prompts, by its config's names.
  std::vector<std::pair<std::string, int64_t>> shape;
};

/// What a pass takes, counted from shapes: a matrix product two operations a weight and token, attention four a pair of
/// tokens and channel.
struct PassCost {
  double operations = 0;    // of a row
  double weights = 0;       // numbers, of the blocks
  double working = 0;       // numbers that a row has alive at once
  double kept = 0;          // that it keeps for the backward pass
  double checkpointed = 0;  // the same with gradient checkpointing
};

struct VelocityOptions {
  std::vector<int64_t> skip_layers;  // blocks to leave out (skip-layer guidance)
  const Observer* observer = nullptr;
  bool recompute = false;  // gradient checkpointing, block by block
};

/// A denoiser with planned (meta) or loaded tensors; single-device code, as everything here.
class VelocityModel {
 public:
  virtual ~VelocityModel() = default;
  virtual const VelocityModelInfo& info() const = 0;

  /// What the encoders say as this model reads it. Throws Failure(BadConfig) when the widths do not fit together.
  virtual PromptEmbeds assemble(const EncodedPrompts& prompts) const = 0;
  /// The prompts through the model's own embedders, in its dtype.
  virtual TextEmbedding embed_text(const PromptEmbeds& prompts) const = 0;
  /// Velocity noise - x_0 (Eq. 2) of noisy latents; of a truncated model, features in the velocity's form. latent (B,
  /// C, H, W) in the model's dtype, timestep (B) in [0, 1000] fp32, text for B rows -> (B, C_out, H, W). Throws
  /// Failure(BadRequest) when H or W is no multiple of the patch or exceeds most_patches.
  virtual Tensor velocity(const Tensor& latent, const Tensor& timestep, const TextEmbedding& text,
                          const VelocityOptions& options = {}) const = 0;

  /// All leaves by diffusers' names, in a stable order.
  virtual void each_leaf(const LeafVisitor& visit) = 0;
  /// What latents and prompts must be in: the dtype of its output layer.
  virtual at::ScalarType dtype() const = 0;
  /// The last layer, which training begins at zero.
  virtual Linear& output_layer() = 0;
  /// Random weights by the model's own scheme, on the CPU; every leaf is filled.
  virtual void initialize(at::Generator generator) = 0;

  /// Of its blocks, for latents of so many patches and a text of so many tokens. By default a transformer's whose
  /// blocks attend over all tokens together.
  virtual PassCost cost(int64_t patches, int64_t text_tokens) const;

  /// Blocks that are run.
  virtual int64_t run_layers() const = 0;
  /// Whether the whole model has a tensor of that name that this one, truncated, does without.
  virtual bool is_left_out(const std::string& key) const = 0;
  /// A guess at what weights are that do not fit, or nothing.
  virtual std::string mismatch_hint(const Weights&) const { return ""; }
};

template <class V>
void each(VelocityModel& model, V&& visit) {
  model.each_leaf([&](const std::string& name, Leaf leaf) { std::visit([&](auto* l) { visit(name, *l); }, leaf); });
}

/// Checks all keys and shapes, then loads; keys that a truncated model leaves out may be there or not. Throws
/// Failure(KeysMismatch), with a guess at what the weights are.
void load_velocity_model(VelocityModel& model, const Weights& weights, at::ScalarType dtype, at::Device device,
                         const std::function<void(uint64_t, uint64_t)>& progress = {});

}  // namespace drm
