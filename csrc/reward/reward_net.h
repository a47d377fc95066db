// The diffusion-based reward model: a truncated velocity network and a small convolutional head that turn noisy latents
// and a prompt into a score (paper Eq. 7-8, as the authors' code realises them; see tensor names there).
// Shapes: B images, C latent channels, H W latent size.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "common/model_source.h"
#include "models/registry.h"

namespace drm {

struct RewardHeadConfig {
  int64_t channels = 256;  // of the first convolution; the others have twice as many
  int64_t groups = 32;     // of the group norms
  int64_t hidden = 512;    // of the MLP
  double dropout = 0.1;    // before the last layer, in training
  std::vector<int64_t> strides = {2, 2, 2};
};

struct RewardConfig {
  VelocityModelConfig backbone;  // of the whole base model
  int64_t keep_layers = 0;       // the first blocks of it, which are run
  RewardHeadConfig head;
  int64_t t5_length = 512;  // tokens of T5 the model was trained with
  int64_t size = 512;       // pixels a side it was trained at
};

/// Reads a reward model's own config.json. Throws Failure(BadConfig | BadFile).
RewardConfig read_reward_config(const std::string& path);
/// The config of the authors' single file, which has none: sizes from the shapes, and blocks kept as they published (21
/// of 24, 33 of 38). Throws Failure(BadFile) when another number of blocks leaves that open.
RewardConfig infer_reward_config(const std::vector<std::string>& files);
/// By the files' config, or from the shapes of their weights. Throws Failure(BadConfig | BadFile).
RewardConfig reward_config_of(const ComponentFiles& files);
/// Throws Failure(BadConfig) naming the field, when `config` cannot be built.
void check_reward_config(const RewardConfig& config);

struct DownBlock {  // convolution, group norm, ReLU
  Conv2d conv;
  Norm norm;
};

struct RewardHead {
  std::vector<DownBlock> down;
  Linear hidden, score;
};

struct RewardNet {
  RewardConfig config;
  std::shared_ptr<VelocityModel> backbone;
  RewardHead head;
};

/// The structure with planned (meta) tensors.
RewardNet make_reward_net(const RewardConfig& config);

/// Loads both parts from a reward model's files, the authors' (which hold all blocks) or ours. Throws
/// Failure(KeysMismatch | BadFile).
void load_reward_net(RewardNet& net, const std::vector<std::string>& files, at::ScalarType dtype, at::Device device,
                     const std::function<void(uint64_t, uint64_t)>& progress = {});

/// Scores (B) in fp32. latent (B, C, H, W) in the model's dtype, timestep (B) in [0, 1000] fp32, text for B rows.
Tensor reward(const RewardNet& net, const Tensor& latent, const Tensor& timestep, const TextEmbedding& text);

struct TrainingOptions {
  Tensor dropout;          // (2 B, hidden) factors 0 or 1 / (1 - p); undefined: none
  bool recompute = false;  // gradient checkpointing, block by block
};

/// Scores (B) of the two images of B pairs.
struct PairScores {
  Tensor chosen, rejected;
};
/// The same for 2 B rows, the chosen of all pairs first, then the rejected. They share the backbone's pass; the head
/// runs on each half by itself, so that gradients which cancel between the two (of a bias under units that are active
/// for both) cancel exactly, as in the authors' two passes: Adam would turn their rounding into steps.
PairScores reward_of_pairs(const RewardNet& net, const Tensor& latent, const Tensor& timestep,
                           const TextEmbedding& text, const TrainingOptions& options = {});
/// The head alone: map (B, C, H, W) -> scores (B) in fp32.
Tensor reward_of_map(const RewardNet& net, const Tensor& map, const Tensor& dropout = {});

template <class V>
void each(RewardHead& h, V&& visit) {
  for (size_t i = 0; i < h.down.size(); ++i) {
    const auto name = "down" + std::to_string(i + 1);
    visit(name + ".0", h.down[i].conv);
    visit(name + ".1", h.down[i].norm);
  }
  visit("mlp.0", h.hidden);
  visit("mlp.3", h.score);
}

template <class V>
void each(RewardNet& net, V&& visit) {
  each(*net.backbone, [&](const std::string& name, auto& leaf) { visit("transformer." + name, leaf); });
  each(net.head, [&](const std::string& name, auto& leaf) { visit("reward_output." + name, leaf); });
}

}  // namespace drm
