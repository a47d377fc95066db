// What a training run is made of, as plain data: the binding fills it, no torch header needed.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/metrics.h"
#include "common/model_source.h"
#include "lora/lora_config.h"
#include "optim/trainer_options.h"
#include "text/prompt_tokens.h"

namespace drm {

struct RewardNet;

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
  double rotate = 0;  // degrees by which training pictures are rotated at most, either way
  /// Share of a picture's patches that training leaves out, drawn anew each time (Li et al. 2023, "FLIP").
  double patch_dropout = 0;
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

/// An adapter of a text-to-image model by policy gradients (policy_objective.h).
struct PolicySpec {
  PipelineSource source;
  LoraConfig lora;
  std::string lora_from;          // an adapter file to go on from, or empty
  int64_t t5_length = 256;        // tokens of T5 (zeros without one)
  int64_t height = 0, width = 0;  // pixels; 0: the model's default size
  int64_t steps = 10;             // of the denoising grid
  double guidance = 4.5;          // in rollout and update; 1: none
  double noise_level = 0.7;
  bool cps = false;                   // the noise of cps_step() instead of sde_step()
  double clip_range = 1e-4;           // of the ratio
  double advantage_clip = 5;          // advantages are clamped to +- this; 0: not at all
  double kl_beta = 0;                 // weight of the divergence from the model without adapter; 0: no such pass
  std::string kl = "flow";            // "flow", "exact", "velocity": see PolicyDivergence
  bool detach_unconditional = false;  // no gradient through guidance's unconditional half
  bool recompute = false;             // gradient checkpointing, block by block
};

/// What is trained on given data; a policy brings its own (PolicySpec).
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
  // Of a policy: `samples` are rows of what was collected, at one denoising step.
  int64_t step = -1;
  std::vector<float> advantages;  // (B, K)
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

/// A reward model that scores latents, and its weight in the sum that chooses.
struct WeightedReward {
  std::shared_ptr<const RewardNet> net;  // on the trainer's device
  double weight = 1;
};

/// What a policy samples by.
struct PolicyInputs {
  std::vector<PromptTokens> prompts;
  std::vector<PromptTokens> reward_prompts;  // with the reward models' number of T5 tokens; empty: the same
  PromptTokens negative;
  std::vector<int64_t> prompt_of;  // (N) of each trajectory or picture, an index into prompts
  std::vector<WeightedReward> rewards;
};

/// Trajectories of the policy as it is now; they are kept until another iteration begins.
struct RolloutRequest : PolicyInputs {
  int64_t iteration = 0;
  std::vector<int64_t> samples, latents;  // (N) what keys a trajectory's noise, and its initial latents
  int64_t k = 1;
  std::string continuation = "random";  // "random", "best", "first", "ode": see Continuation
  int64_t from = 0, until = 0;   // denoising steps with noise
  bool score_states = false;     // see RolloutOptions
  bool pictures = false;         // "image" events {index, width, height} of the final latents
};
// Reports phases "encode", "rollout" (steps) and "decode" (pictures).
struct Rollout {
  int64_t first_row = 0;  // rows of these trajectories, for TrainBatch::samples, count from here
  /// Of each reward: with k > 1 (until - from, N, k); else (N), or with score_states (until - from + 1, N).
  std::vector<std::vector<float>> scores;
  double encode_seconds = 0, policy_seconds = 0, reward_seconds = 0, decode_seconds = 0;
};

/// Pictures of a policy's averaged adapter by plain sampling, as events "image"; phases "encode", "denoise" and
/// "decode".
struct PolicySampleRequest : PolicyInputs {
  std::vector<uint64_t> seeds;  // initial latents, as in `drm sample`
  int64_t steps = 28;
  double guidance = 4.5;
};
/// Of each reward (N): scores of the final latents at timestep 0.
using PolicyScores = std::vector<std::vector<float>>;

/// How a reward model's file names and holds its tensors.
enum class RewardLayout {
  Kept,    // what is run; ours
  Authors  // the skipped blocks too, as the authors' code wants them
};

}  // namespace drm
