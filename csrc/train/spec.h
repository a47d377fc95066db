// What a training run is made of, as plain data: the binding fills it, no torch header needed.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "nn/lora_config.h"
#include "pipeline/pipeline.h"

namespace drm {

struct TrainerOptions {
  std::string device = "cpu";  // "cpu", "cuda", "cuda:N"
  std::string dtype = "fp32";  // of matrix products: "fp32", or "bf16" by autocast; weights stay fp32
  uint64_t seed = 0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double max_gradient_norm = 1;  // 0: only measured
  double ema_decay = 0;          // 0: no averages
  bool zero = false;             // of several processes, each keeps a share of the optimizer's state (ZeRO-1)
};

/// An AutoencoderKL from pictures alone (vae_objective.h).
struct VaeSpec {
  std::string config;                // vae/config.json
  std::vector<std::string> weights;  // empty: from nothing
  // Weights of the loss terms, each a mean over elements of pictures in [-1, 1] (KL: of latents).
  double l1 = 1, l2 = 1;
  double edges = 0.5;  // L1 between horizontal and vertical differences of neighbouring pixels: sharp outlines
  double kl = 1e-3;    // pull of the posterior to N(0, 1)
};

/// A CLIP model: both towers, contrastively (clip_objective.h).
struct ClipSpec {
  std::string config;                // config.json of a transformers CLIPModel
  std::vector<std::string> weights;  // empty: from nothing
  /// How far training pictures are moved and scaled (fraction of their edge) and their colours turned (fraction of half
  /// a turn), faded or lit; 0 leaves them alone.
  double augment = 0;
};

/// The velocity network by flow matching (flow_objective.h).
struct FlowSpec {
  PipelineSource source;           // transformer.weights may be empty: from nothing, by its config
  bool logit_normal = true;        // u = sigmoid(normal(mean, deviation)) (Esser et al. 2024), else uniform
  double mean = 0, deviation = 1;  // of the logit
  bool shifted = false;            // the scheduler's shift applied to u, as in sampling
  double prompt_dropout = 0.1;     // share of samples trained with the empty prompt, for guidance
  bool posterior_sample = true;    // latents sampled from the VAE's posterior, else its mode
  bool recompute = false;          // gradient checkpointing, block by block
  int64_t t5_length = 256;         // tokens of T5 (zeros without one)
  std::optional<LoraConfig> lora;  // only adapters are trained
};

/// A reward model by preferences (reward_objective.h).
struct RewardSpec {
  PipelineSource source;      // the base: its transformer (weights may be empty: random), VAE and text encoders
  ComponentFiles checkpoint;  // a reward model to go on from, or absent
  int64_t keep_layers = 0;    // of the base's blocks; the head's sizes
  int64_t head_channels = 256, head_groups = 32, head_hidden = 512;
  double dropout = 0.1;
  bool logit_normal = true;        // t of the distribution in flow/timesteps.h, else uniform
  double mean = 0, deviation = 1;  // of the logit
  bool shifted = true;             // levels from the scheduler's table, else from the one without shift
  bool shared_noise = false;       // the same noise on both pictures of a pair
  bool posterior_sample = true;    // latents sampled from the VAE's posterior, else its mode
  bool recompute = false;          // gradient checkpointing, block by block
  int64_t t5_length = 512;         // tokens of T5 (zeros without one)
  bool freeze_backbone = false;    // only the head is trained
  std::optional<LoraConfig> lora;  // of the backbone only adapters are trained; the head is trained whole
};

using ObjectiveSpec = std::variant<VaeSpec, ClipSpec, FlowSpec, RewardSpec>;

/// A micro-batch of B samples. Which fields are needed is the objective's affair.
struct TrainBatch {
  std::vector<int64_t> samples;  // (B) indices in the data set: they key the samples' random numbers
  std::vector<int64_t>
      pictures;  // which pictures the batch has, when a sample is not one picture: see reward_objective.h
  std::vector<uint8_t> pixels;  // (pictures, height, width, 3), or empty
  int64_t height = 0, width = 0;
  std::vector<int64_t> ids;           // (B, L) token ids, or empty
  std::vector<int64_t> texts;         // (B) rows of the cached prompts, or empty
  std::vector<PromptTokens> prompts;  // (B) prompts to encode now instead, or empty
  int64_t size() const { return static_cast<int64_t>(samples.size()); }
  /// What names the pictures: latents are cached under these.
  const std::vector<int64_t>& picture_ids() const { return pictures.empty() ? samples : pictures; }
};

/// Pictures from the model as it is now.
struct PreviewRequest {
  std::vector<int64_t> texts;   // rows of the cached prompts
  std::vector<uint64_t> seeds;  // initial latents, as in `drm sample`
  int64_t steps = 28, height = 0, width = 0;
  double guidance = 3;
};

struct MetricValue {
  std::string name;
  double value = 0;
  double weight = 0;  // of how many samples it is the mean
};
/// Those of which at least one sample had something to say.
using Metrics = std::vector<MetricValue>;

/// How a reward model's file names and holds its tensors.
enum class RewardLayout {
  Kept,    // what is run; ours
  Authors  // the skipped blocks too, as the authors' code wants them
};

}  // namespace drm
