// Training a scorer of finished images by preferences: an image tower and an affine head, as the aesthetic predictor
// has them, by Bradley and Terry's likelihood (paper Eq. 10). It reads no prompt.
#pragma once
#include <memory>

#include "train/objective.h"

namespace drm {

/// Reads batch.samples (B) and batch.pixels (2 B), squares of the config's image_size, the chosen of all pairs first,
/// then the rejected. Metrics: "accuracy" and "margin". The weights are written as load_aesthetic() reads them. Throws
/// Failure(BadConfig | BadFile | KeysMismatch).
std::unique_ptr<Objective> scorer_objective(const ScorerSpec& spec, uint64_t seed, at::Device device);

}  // namespace drm
