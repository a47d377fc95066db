// The frozen parts of a base, used once over a data set: latents of images and embeds of prompts as files, which a
// training reads instead of encoding (Training::load_latents, load_prompts). No torch header here.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "common/control.h"
#include "train/spec.h"

namespace drm {

class DataSetEncoder {
 public:
  /// The VAE runs in fp32, the text encoders in `options.dtype`, in which files are written too. The transformer's
  /// config says how wide embeds are. Throws Failure (BadFile, BadConfig, KeysMismatch, OutOfMemory, Device).
  static std::shared_ptr<DataSetEncoder> load(const PipelineSource& source, int64_t t5_length,
                                              const LoadOptions& options, Control& control);
  virtual ~DataSetEncoder() = default;
  /// The batch's images: "latents" (N, 2, C, h, w), mean and standard deviation of the posterior. Throws
  /// Failure(BadRequest, Disk).
  virtual void latents(const TrainBatch& batch, const std::string& path) = 0;
  /// "sequence" (B, L, D) and "pooled" (B, P). Throws Failure(BadRequest, NotFinite, Disk).
  virtual void prompts(const std::vector<PromptTokens>& prompts, const std::string& path, Control& control) = 0;
};

}  // namespace drm
