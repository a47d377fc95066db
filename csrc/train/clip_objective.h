// Training CLIP: images and captions of a batch are told apart from each other (Radford et al. 2021).
#pragma once
#include <memory>

#include "train/objective.h"

namespace drm {

/// Reads batch.pixels, squares of the config's image_size, and batch.ids. Metrics, also of an evaluation, where the
/// batch is what is told apart: "image_to_text" and "text_to_image" (share of the batch whose nearest is the right
/// one), and "logit_scale". Throws Failure(BadConfig | BadFile | KeysMismatch).
std::unique_ptr<Objective> clip_objective(const ClipSpec& spec, uint64_t seed, at::Device device);

}  // namespace drm
