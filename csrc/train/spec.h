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

using ObjectiveSpec = std::variant<VaeSpec, ClipSpec, FlowSpec>;

/// A micro-batch of B samples. Which fields are needed is the objective's affair.
struct TrainBatch {
  std::vector<int64_t> samples;  // (B) indices in the data set: they key the samples' random numbers
  std::vector<uint8_t> pixels;   // (B, height, width, 3), or empty
  int64_t height = 0, width = 0;
  std::vector<int64_t> ids;    // (B, L) token ids, or empty
  std::vector<int64_t> texts;  // (B) rows of the cached prompts, or empty
  int64_t size() const { return static_cast<int64_t>(samples.size()); }
};

/// Pictures from the model as it is now.
struct PreviewRequest {
  std::vector<int64_t> texts;   // rows of the cached prompts
  std::vector<uint64_t> seeds;  // initial latents, as in `drm sample`
  int64_t steps = 28, height = 0, width = 0;
  double guidance = 3;
};

using Metrics = std::vector<std::pair<std::string, double>>;

}  // namespace drm
