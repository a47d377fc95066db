// CLIP as a judge of images: the cosine of image and prompt.
#pragma once
#include "scorers/scorer.h"

namespace drm {

/// transformers' CLIPModel, or OpenAI's and open_clip's weights beside such a config. Images are prepared as
/// transformers does (pillow_square). See load_scorer().
std::shared_ptr<Scorer> load_clip_scorer(const ScorerSource& source, const LoadOptions& options, Control& control);

}  // namespace drm
