// Stable Diffusion 3 and 3.5 as a kind of base model.
#pragma once
#include "models/registry.h"
#include "models/sd3/mmdit.h"

namespace drm {

Architecture sd3_architecture();
VelocityModelConfig sd3_config(const MMDiTConfig& config);

/// An MMDiT behind the interface.
class Sd3 final : public VelocityModel {
 public:
  explicit Sd3(MMDiT network);
  MMDiT& network() { return network_; }
  const VelocityModelInfo& info() const override { return info_; }
  PromptEmbeds assemble(const EncodedPrompts& prompts) const override;
  TextEmbedding embed_text(const PromptEmbeds& prompts) const override;
  Tensor velocity(const Tensor& latent, const Tensor& timestep, const TextEmbedding& text,
                  const VelocityOptions& options = {}) const override;
  void each_leaf(const LeafVisitor& visit) override;
  at::ScalarType dtype() const override { return network_.proj_out.weight.scalar_type(); }
  Linear& output_layer() override { return network_.proj_out; }
  void initialize(at::Generator generator) override { initialize_mmdit(network_, std::move(generator)); }
  PassCost cost(int64_t patches, int64_t text_tokens) const override;
  int64_t run_layers() const override { return static_cast<int64_t>(network_.blocks.size()); }
  bool is_left_out(const std::string& key) const override { return drm::is_left_out(network_, key); }
  std::string mismatch_hint(const Weights& weights) const override { return guess_release(network_, weights); }

 private:
  MMDiT network_;
  VelocityModelInfo info_;
};

}  // namespace drm
