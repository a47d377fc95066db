// Training the velocity network by flow matching (Eq. 1-2; Lipman et al. 2023, Esser et al. 2024), from scratch or from
// given weights, all of it or LoRA alone. VAE and text encoders are frozen and serve through caches.
#pragma once
#include <memory>

#include "train/objective.h"

namespace drm {

class FlowObjective : public CachingObjective {
 public:
  /// Throws Failure(BadConfig | BadFile | KeysMismatch | BadRequest).
  static std::unique_ptr<FlowObjective> create(const FlowSpec& spec, uint64_t seed, at::Device device,
                                               Control& control);

  /// Images from the current weights, as events (see emit_images()).
  virtual void preview(const PreviewRequest& request, const Control& control) = 0;
};

}  // namespace drm
