// CLIP as a judge of images: the cosine of image and prompt.
#pragma once
#include "scorers/scorer.h"

namespace drm {

/// transformers' CLIPModel, or OpenAI's and open_clip's weights beside such a config: CLIP itself, PickScore, HPS v1
/// and HPSv2. Settings (clip_images.h): "pixels", how images are prepared, "transformers" unless it says "torchvision"
/// (HPS v1) or "letterbox" (HPSv2), and "antialias" of the letterbox, true. Scores are cosines; info().logit_scale
/// makes PickScore's of them. See load_scorer().
std::shared_ptr<Scorer> load_clip_scorer(const ScorerSource& source, const LoadOptions& options, Control& control);

}  // namespace drm
