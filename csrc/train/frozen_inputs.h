// The frozen parts around a network in training, VAE and text encoders, and what they made of images and prompts:
// computed once and kept, or for each batch.
// Shapes: N images, C latent channels, h w latent size, B prompts.
#pragma once
#include <unordered_map>

#include "models/encode_prompts.h"
#include "train/objective.h"
#include "vae/autoencoder.h"

namespace drm {

class FrozenInputs {
 public:
  /// Around `model`, of which only the plan is needed. Encoders run in `dtype`, the VAE in fp32. Throws
  /// Failure(BadConfig | BadFile | KeysMismatch).
  FrozenInputs(const PipelineSource& source, int64_t t5_length, std::shared_ptr<const VelocityModel> model,
               at::ScalarType dtype, at::Device device, Control& control);

  /// Whether VAE and text encoders are those of the model.
  bool fit() const;
  /// That they are. Throws Failure(BadConfig) naming the model's config file.
  void require_fit(const std::string& config_file, const char* where) const;

  const VaeConfig& vae_config() const { return vae_.config; }
  const Vae& vae() const { return vae_; }
  const TextEncoders& encoders() const { return encoders_; }

  /// The batch's images are encoded once and kept: later batches name them without pixels.
  void cache_latents(const TrainBatch& batch);
  /// Embeds of all prompts that batches refer to by row; for flow matching row 0 must be the empty prompt. Gives the
  /// encoders' memory back afterwards.
  void cache_prompts(const std::vector<PromptTokens>& prompts, Control& control);

  /// The posterior of the batch's images as a file, "latents" (N, 2, C, h, w): mean, standard deviation. Throws
  /// Failure(Disk).
  void save_latents(const TrainBatch& batch, const std::string& path, at::ScalarType dtype) const;
  /// Embeds of prompts as a file: "sequence" (B, L, D), "pooled" (B, P). Throws Failure(Disk).
  void save_prompts(const std::vector<PromptTokens>& prompts, const std::string& path, at::ScalarType dtype,
                    Control& control) const;
  /// What these wrote (by a DataSetEncoder, encoder.h) in the place of a cache; it is read as it is used. `images`
  /// are the numbers of the file's rows; a negative one is passed over. Throws Failure(BadFile) when the shapes are not
  /// this model's.
  void load_latents(const std::string& path, const std::vector<int64_t>& images);
  /// Rows are counted through the files in their order. Gives the encoders' memory back.
  void load_prompts(const std::vector<std::string>& paths);

  /// The posterior of the batch's images: from its pixels, or from the cache. Mean and standard deviation, (N, C, h,
  /// w) fp32. Throws Failure(BadRequest) naming an image that was never cached.
  std::pair<Tensor, Tensor> posterior_of(const TrainBatch& batch) const;
  /// Embeds of cached prompts by row, (B) int64. Throws Failure(BadRequest).
  PromptEmbeds rows(const Tensor& rows) const;
  /// Embeds of the batch's prompts: encoded now where it brings its own, else by its rows.
  PromptEmbeds prompts_of(const TrainBatch& batch) const;

 private:
  Posterior encode(const TrainBatch& batch) const;

  at::Device device_;
  int64_t t5_length_;
  std::shared_ptr<const VelocityModel> model_;
  Vae vae_;
  TextEncoders encoders_;
  std::unordered_map<int64_t, Tensor> latents_;  // (2, C, h, w): mean, deviation
  std::vector<PromptEmbeds> prompts_;  // one after the other; on the device where they were encoded by this process
};

}  // namespace drm
