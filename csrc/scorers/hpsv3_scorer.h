// HPSv3 as a judge of images: its mean and its deviation.
#pragma once
#include "scorers/scorer.h"

namespace drm {

/// Qwen2-VL with HPSv3's head. Settings: `min_pixels` and `max_pixels` of the resized image, both 200704 by default.
/// A prompt is the ids of the whole chat, with one image token, which is repeated as often as the image asks for. On a
/// CPU matrices stay in the file, in its dtype; it computes in fp32 there, unless it is asked for bf16 and multiplies
/// it itself (info().dtype). See load_scorer().
std::shared_ptr<Scorer> load_hpsv3_scorer(const ScorerSource& source, const LoadOptions& options, Control& control);

}  // namespace drm
