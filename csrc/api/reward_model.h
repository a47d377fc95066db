// A loaded diffusion-based reward model: images and prompts in, scores out. No torch header here.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/control.h"
#include "common/model_source.h"
#include "scorers/pillow_resize.h"
#include "text/prompt_tokens.h"

namespace drm {

struct RewardNet;

struct RewardSource {
  /// A folder's config.json and model.safetensors, or the authors' single file, which has no config.
  ComponentFiles checkpoint;
  /// The base's VAE, text encoders and scheduler: needed to score images, not by step-wise sampling, which has its
  /// own.
  PipelineSource base;
};

struct RewardInfo {
  std::string device, dtype;
  int64_t parameters = 0, weight_bytes = 0;  // of the reward network alone
  int64_t layers = 0, keep_layers = 0;
  int64_t latent_channels = 0;
  int64_t t5_length = 0;  // tokens of T5 it was trained with
  int64_t size = 0;       // pixels a side it was trained at
  // Timesteps of the base scheduler's training table, noisiest first; SD3's where the base names no scheduler.
  std::vector<float> schedule;
};

struct ScoreRequest {
  std::vector<Bitmap> images;  // RGB of any size, squashed to a square as the authors do
  std::vector<PromptTokens> prompts;
  std::vector<int64_t> prompt_of;  // (images) index into prompts
  std::vector<int64_t> samples;    // (images) what keys an image's random numbers
  // 0..1000, one pass of the network each: noise of level timestep / 1000 is added (Eq. 1), none at 0.
  std::vector<double> timesteps = {0};
  bool add_noise = true;  // false: the network is told the timestep of a latent that stays clean
  int64_t draws = 1;      // the score is the mean over that many draws of noise; one is enough at 0
  uint64_t seed = 0;
  bool posterior_sample = false;  // latents drawn from the VAE's posterior, as the authors do, instead of its mode
  int64_t size = 0;               // pixels a side; 0: info().size
};

class RewardModel {
 public:
  /// Throws Failure (BadFile, BadConfig, KeysMismatch, OutOfMemory, Device). Reports phase "load" in bytes.
  static std::shared_ptr<RewardModel> load(const RewardSource& source, const LoadOptions& options, Control& control);
  virtual ~RewardModel() = default;
  virtual const RewardInfo& info() const = 0;
  /// (timesteps, images), row by row: unbounded, only differences within a row have meaning. Images and prompts are
  /// encoded once for all timesteps, which see the same noise. The base's frozen parts are loaded by the first call.
  /// Reports phase "score" in images. One call at a time (others wait). Throws
  /// Failure(BadRequest, NotFinite, OutOfMemory, Cancelled).
  virtual std::vector<float> score(const ScoreRequest& request, Control& control) = 0;
  /// The network itself, for sampling (reward_net.h).
  virtual std::shared_ptr<const RewardNet> net() const = 0;
};

}  // namespace drm
