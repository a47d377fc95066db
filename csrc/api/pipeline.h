// A loaded text-to-image pipeline: text encoders, velocity network, VAE and scheduler, and sampling from it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/control.h"
#include "common/model_source.h"
#include "flow/skip_layer_guidance.h"
#include "lora/lora_info.h"
#include "scorers/scorer.h"
#include "text/prompt_tokens.h"

namespace drm {

/// What a user wants to know about a loaded model.
struct PipelineInfo {
  std::string device, dtype;
  int64_t transformer_parameters = 0, vae_parameters = 0, text_encoder_parameters = 0;
  int64_t weight_bytes = 0;
  int64_t layers = 0, width = 0, latent_channels = 0;
  int64_t vae_factor = 8, patch = 2;  // sizes must be multiples of vae_factor * patch
  int64_t default_size = 0;           // sample_size * vae_factor
  bool has_t5 = false;
  std::vector<LoraInfo> loras;
  std::string attention;  // kernel that scaled_dot_product_attention will use, as far as known
};

struct ImageRequest {
  int64_t prompt = 0;    // index into SampleRequest::prompts
  int64_t negative = 0;  // index into SampleRequest::negatives
  uint64_t seed = 0;     // initial latents = CPU generator of this seed, as diffusers draws them
};

class RewardModel;

/// A scorer of finished images that chooses among candidates by what they would become (decoded_scorer.h).
struct ImageGuide {
  std::shared_ptr<Scorer> scorer;          // on any device
  std::vector<std::vector<int64_t>> rows;  // token ids as it reads them; empty where it reads no text
  std::vector<int64_t> row_of;             // of each of the request's images: index into rows; empty likewise
  double factor = 1;                       // above 0: its number times this is the score
};

/// Step-wise sampling: k candidates a step, the one that `reward` or `guide` prefers goes on; k = 1 is one path with a
/// candidate's noise and no choice. See Stepwise in flow/sampler.h.
struct StepwiseRequest {
  std::shared_ptr<RewardModel> reward;  // on the pipeline's device; not needed when k is 1
  std::optional<ImageGuide> guide;      // in its place
  /// The request's prompts with as many T5 tokens as the reward model reads; empty: they have as many already.
  std::vector<PromptTokens> prompts;
  int64_t k = 1;
  double noise_level = 0.7;
  double temperature = 0;                  // of the choice; 0: the best
  double score_from = 0, score_until = 1;  // fractions of the trajectory
  bool trace = false;                      // "candidate" events
};

struct SampleRequest {
  std::vector<PromptTokens> prompts, negatives;
  std::vector<ImageRequest> images;  // in output order
  int64_t steps = 28;
  double guidance = 4.5;          // classifier-free guidance is on when > 1
  int64_t height = 0, width = 0;  // pixels; 0 = default_size
  int64_t t5_length = 256;        // max_sequence_length; gives the zeros' length when T5 is absent (0: none)
  int64_t batch = 0;              // images per network call; 0 = chosen from the size
  std::optional<SkipLayerGuidance> skip_layers;
  std::optional<StepwiseRequest> stepwise;
  std::string init_latents, init_tensor = "latents";  // safetensors file with [N, C, H, W]; empty: drawn from the seeds
  std::string save_latents;    // file to write the final latents to (tensor "latents", fp32, all images)
  bool free_encoders = false;  // give the text encoders' memory back after encoding
  bool decode = true;          // false: latents only
  int64_t preview_every = 0;   // steps between "preview" events of the first image; 0 = none
  int64_t tile = 0;            // VAE tile edge in latent pixels; 0 = tiled only when large; <0 = never
};

// Events emitted while sampling:
//   "image"   {index, width, height, seed}          bytes = RGB, row by row, 3 per pixel; in output order
//   "preview" {index, width, height, step}          bytes likewise: the current estimate of x_0, decoded
//   "candidate" {index, step, sigma, candidate, score, chosen, width, height}   bytes likewise: the estimate of x_0
//   that
//             the policy makes from the candidate with the prompt and without guidance, decoded small
//   "warning" {message}
struct SampleSummary {
  int64_t images = 0, width = 0, height = 0, batches = 0;
  double encode_seconds = 0, denoise_seconds = 0, decode_seconds = 0, seconds_per_step = 0;
  /// Of denoising, on a CPU: the policy's passes, what scores the candidates, and branching and selecting.
  double policy_seconds = 0, reward_seconds = 0, branch_seconds = 0;
};

class Pipeline {
 public:
  /// Throws Failure (BadFile, BadConfig, KeysMismatch, OutOfMemory, Device). Reports phase "load" in bytes.
  static std::shared_ptr<Pipeline> load(const PipelineSource& source, const LoadOptions& options, Control& control);
  virtual ~Pipeline() = default;
  virtual const PipelineInfo& info() const = 0;
  /// Reports phases "encode", "denoise" (steps over all batches) and "decode". One call at a time per pipeline
  /// (others wait). Throws Failure (BadRequest, NotFinite, OutOfMemory, Cancelled, Disk).
  virtual SampleSummary sample(const SampleRequest& request, Control& control) = 0;
};

}  // namespace drm
