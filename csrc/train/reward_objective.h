// Training a reward model by preferences over noisy latents (paper Eq. 9-10; the authors' recipe is the default).
//
// A batch has B pairs: samples (B) name them, images (2 B) their images, the chosen of all pairs first, then the
// rejected; pixels, where given, in the same order; texts or prompts (B). Both images of a pair go through the
// network in one batch, at one noise level.
#pragma once
#include <memory>

#include "train/objective.h"

namespace drm {

class RewardObjective : public CachingObjective {
 public:
  /// `dtype` is that of the frozen text encoders. Throws Failure(BadConfig | BadFile | KeysMismatch | BadRequest).
  static std::unique_ptr<RewardObjective> create(const RewardSpec& spec, uint64_t seed, at::ScalarType dtype,
                                                 at::Device device, Control& control);

  /// Writes the layout of the authors' file: the blocks that are not run too, as the base has them. Throws
  /// Failure(BadRequest) when there is no base to take them from.
  virtual void export_as_authors(const std::string& path, at::ScalarType dtype) = 0;
};

}  // namespace drm
