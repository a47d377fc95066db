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

// Settings have the names that configs give them (configs/schema), and each spec lists its own once, in each_setting():
// v(name, member), and v(name, member, choices) for a text that is one of several. What reads, checks and prints them
// (settings.h, the binding) goes by these lists.

/// An AutoencoderKL from images alone (vae_objective.h).
struct VaeSpec {
  std::string config;                // vae/config.json
  std::vector<std::string> weights;  // empty: from scratch
  // Weights of the loss terms, each a mean over elements of images in [-1, 1] (KL: of latents).
  double l1 = 1, l2 = 1;
  double edges = 0.5;  // L1 between horizontal and vertical differences of neighbouring pixels: sharp outlines
  double kl = 1e-3;    // pull of the posterior to N(0, 1)
};
template <class V>
void each_setting(VaeSpec& s, V&& v) {
  v("l1", s.l1);
  v("l2", s.l2);
  v("edges", s.edges);
  v("kl", s.kl);
}

/// A CLIP model: both towers, contrastively (clip_objective.h).
struct ClipSpec {
  std::string config;                // config.json of a transformers CLIPModel
  std::vector<std::string> weights;  // empty: from scratch
  /// How far training images are moved and scaled (fraction of their edge) and their colours turned (fraction of half
  /// a turn), faded or lit; 0 leaves them alone.
  double augment = 0;
  double rotate = 0;  // degrees by which training images are rotated at most, either way
  /// Share of an image's patches that training leaves out, drawn anew each time (Li et al. 2023, "FLIP").
  double patch_dropout = 0;
};
template <class V>
void each_setting(ClipSpec& s, V&& v) {
  v("augment", s.augment);
  v("rotate", s.rotate);
  v("patch_dropout", s.patch_dropout);
}

/// A scorer of finished images by preferences (scorer_objective.h).
struct ScorerSpec {
  std::string config;                // config.json as make_aesthetic() reads it
  std::vector<std::string> weights;  // empty: from scratch
  bool mirror = true;                // half of the training pairs, both images alike
};
template <class V>
void each_setting(ScorerSpec& s, V&& v) {
  v("mirror", s.mirror);
}

template <class V>
void each_setting(LoraConfig& s, V&& v) {
  v("lora_rank", s.rank);
  v("lora_alpha", s.alpha);
  v("lora_targets", s.targets);
}

/// How timesteps are drawn in training.
struct TimestepSettings {
  std::string timestep_sampling = "logit_normal";  // u = sigmoid(normal) (Esser et al. 2024), or "uniform"
  double logit_mean = 0, logit_deviation = 1;      // of that normal
  bool shifted = false;                            // towards noise, by the scheduler's shift
  bool logit_normal() const { return timestep_sampling == "logit_normal"; }
};
template <class V>
void each_setting(TimestepSettings& s, V&& v) {
  v("timestep_sampling", s.timestep_sampling, {"logit_normal", "uniform"});
  v("logit_mean", s.logit_mean);
  v("logit_deviation", s.logit_deviation);
  v("shifted", s.shifted);
}

/// The velocity network by flow matching (flow_objective.h).
struct FlowSpec : TimestepSettings {
  PipelineSource source;                // transformer.weights may be empty: from scratch, by its config
  double prompt_dropout = 0.1;          // share of samples trained with the empty prompt, for guidance
  bool posterior_sample = true;         // latents sampled from the VAE's posterior, else its mode
  bool gradient_checkpointing = false;  // block by block
  int64_t t5_length = 256;              // tokens of T5 (zeros without one)
  LoraConfig lora = {0};                // of rank 0: all weights are trained, else adapters alone
};
template <class V>
void each_setting(FlowSpec& s, V&& v) {
  each_setting(static_cast<TimestepSettings&>(s), v);
  v("prompt_dropout", s.prompt_dropout);
  v("posterior_sample", s.posterior_sample);
  v("gradient_checkpointing", s.gradient_checkpointing);
  v("t5_length", s.t5_length);
  each_setting(s.lora, v);
}

/// A reward model by preferences (reward_objective.h).
struct RewardSpec : TimestepSettings {
  RewardSpec() { shifted = true; }  // levels from the scheduler's table, else from the one without shift
  PipelineSource source;            // the base: its transformer (weights may be empty: random), VAE and text encoders
  ComponentFiles checkpoint;        // a reward model to go on from, or absent
  int64_t keep_layers = 0;          // of the base's blocks; the head's sizes
  int64_t head_channels = 256, head_groups = 32, head_hidden = 512;
  double head_dropout = 0.1;
  std::string likelihood = "bradley_terry";  // of a preference, or "thurstone": with a variance by the noise level
  double score_variance = 0.05, score_variance_noise = 2;  // of a score, for the latter: ScoreVariance
  bool shared_noise = false;                               // the same noise on both images of a pair
  bool posterior_sample = true;                            // latents sampled from the VAE's posterior, else its mode
  bool gradient_checkpointing = false;                     // block by block
  int64_t t5_length = 512;                                 // tokens of T5 (zeros without one)
  std::string backbone = "full";  // trained whole, or "lora": adapters of it, or "frozen"; the head always is
  LoraConfig lora;
};
template <class V>
void each_setting(RewardSpec& s, V&& v) {
  v("keep_layers", s.keep_layers);
  v("head_channels", s.head_channels);
  v("head_groups", s.head_groups);
  v("head_hidden", s.head_hidden);
  v("head_dropout", s.head_dropout);
  each_setting(static_cast<TimestepSettings&>(s), v);
  v("likelihood", s.likelihood, {"bradley_terry", "thurstone"});
  v("score_variance", s.score_variance);
  v("score_variance_noise", s.score_variance_noise);
  v("shared_noise", s.shared_noise);
  v("posterior_sample", s.posterior_sample);
  v("gradient_checkpointing", s.gradient_checkpointing);
  v("t5_length", s.t5_length);
  v("backbone", s.backbone, {"full", "lora", "frozen"});
  each_setting(s.lora, v);
}

/// An adapter of a text-to-image model by policy gradients (policy_objective.h).
struct PolicySpec {
  PipelineSource source;
  LoraConfig lora;
  std::string lora_from;         // an adapter file to go on from, or empty
  int64_t t5_length = 256;       // tokens of T5 (zeros without one)
  int64_t size = 0;              // pixels a side; 0: the model's default size
  int64_t denoising_steps = 10;  // of the grid
  double guidance = 4.5;         // in rollout and update; 1: none
  double noise_level = 0.7;
  std::string sde = "sde";              // the noise of sde_step(), or "cps": of cps_step()
  double clip_range = 1e-4;             // of the ratio
  double advantage_clip = 5;            // advantages are clamped to +- this; 0: not at all
  double kl_beta = 0;                   // weight of the divergence from the model without adapter; 0: no such pass
  std::string kl = "flow";              // "flow", "exact", "velocity": see PolicyDivergence
  bool detach_unconditional = false;    // no gradient through guidance's unconditional half
  bool gradient_checkpointing = false;  // block by block
};
template <class V>
void each_setting(PolicySpec& s, V&& v) {
  each_setting(s.lora, v);
  v("lora_from", s.lora_from);
  v("t5_length", s.t5_length);
  v("size", s.size);
  v("denoising_steps", s.denoising_steps);
  v("guidance", s.guidance);
  v("noise_level", s.noise_level);
  v("sde", s.sde, {"sde", "cps"});
  v("clip_range", s.clip_range);
  v("advantage_clip", s.advantage_clip);
  v("kl_beta", s.kl_beta);
  v("kl", s.kl, {"flow", "exact", "velocity"});
  v("detach_unconditional", s.detach_unconditional);
  v("gradient_checkpointing", s.gradient_checkpointing);
}

/// What is trained on given data; a policy brings its own (PolicySpec).
using ObjectiveSpec = std::variant<VaeSpec, ClipSpec, ScorerSpec, FlowSpec, RewardSpec>;

/// A micro-batch of B samples. Which fields are needed is the objective's affair.
struct TrainBatch {
  std::vector<int64_t> samples;  // (B) indices in the data set: they key the samples' random numbers
  std::vector<int64_t> images;   // which images the batch has, when a sample is not one image: see reward_objective.h
  std::vector<uint8_t> pixels;   // (images, height, width, 3), or empty
  int64_t height = 0, width = 0;
  std::vector<int64_t> ids;           // (B, L) token ids, or empty
  std::vector<int64_t> texts;         // (B) rows of the cached prompts, or empty
  std::vector<PromptTokens> prompts;  // (B) prompts to encode now instead, or empty
  // Of a policy: `samples` are rows of what was collected, at one denoising step.
  int64_t step = -1;
  std::vector<float> advantages;  // (B, K)
  int64_t size() const { return static_cast<int64_t>(samples.size()); }
  /// What names the images: latents are cached under these.
  const std::vector<int64_t>& image_ids() const { return images.empty() ? samples : images; }
};

/// Images from the model as it is now.
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
  std::vector<int64_t> prompt_of;  // (N) of each trajectory or image, an index into prompts
  std::vector<WeightedReward> rewards;
};

/// Trajectories of the policy as it is now; they are kept until another iteration begins.
struct RolloutRequest : PolicyInputs {
  int64_t iteration = 0;
  std::vector<int64_t> samples, latents;  // (N) what keys a trajectory's noise, and its initial latents
  int64_t k = 1;
  std::string continuation = "random";  // "random", "best", "first", "ode": see Continuation
  int64_t from = 0, until = 0;          // denoising steps with noise
  bool score_states = false;            // see RolloutOptions
  bool images = false;                  // "image" events {index, width, height} of the final latents
};
// Reports phases "encode", "rollout" (steps) and "decode" (images).
struct Rollout {
  int64_t first_row = 0;  // rows of these trajectories, for TrainBatch::samples, count from here
  /// Of each reward: with k > 1 (until - from, N, k); else (N), or with score_states (until - from + 1, N).
  std::vector<std::vector<float>> scores;
  double encode_seconds = 0, policy_seconds = 0, reward_seconds = 0, decode_seconds = 0;
};

/// Images of a policy's averaged adapter by plain sampling, as events "image"; phases "encode", "denoise" and
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
