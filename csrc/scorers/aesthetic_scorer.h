// The aesthetic predictor (Schuhmann 2022, "improved aesthetic predictor"): how much people would like an image, 1 to
// 10, whatever the prompt.
#pragma once
#include "scorers/affine_head.h"
#include "scorers/clip_vision.h"
#include "scorers/scorer.h"

namespace drm {

struct AestheticModel {
  ClipVision vision;
  AffineHead head;  // of the image's unit vector
};

/// From the config of the CLIP whose images the head reads, which may state the head's widths: see read_head_sizes().
/// Throws Failure(BadConfig | BadFile).
AestheticModel make_aesthetic(const std::string& config);
/// From CLIP's weights and the head's together; of CLIP's text tower nothing is read. The head is loaded in fp32.
/// Throws Failure(KeysMismatch | BadFile).
void load_aesthetic(AestheticModel& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                    const std::function<void(uint64_t, uint64_t)>& progress = {});

template <class V>
void each(AestheticModel& m, V&& visit) {
  each(m.vision, visit);
  each_affine_head(m.head, "", visit);
}

/// source.weights: CLIP's file or files, and the head's. Setting "crop": "transformers" (the default, as flow_grpo has
/// it) or "torchvision" (the original). Reads no prompts. See load_scorer().
std::shared_ptr<Scorer> load_aesthetic_scorer(const ScorerSource& source, const LoadOptions& options, Control& control);

}  // namespace drm
