// HPSv3 as a judge of images: its mean and its deviation.
#pragma once
#include "scorers/scorer.h"

namespace drm {

/// Qwen2-VL with HPSv3's head. Settings: `min_pixels` and `max_pixels` of the resized image, both 200704 by default.
/// A prompt is the ids of the whole chat, with one image token, which is repeated as often as the image asks for. On a
/// CPU matrices stay in the file, in its dtype; what they compute is fp32, bf16 or fp16 as asked. See load_scorer().
std::shared_ptr<Scorer> load_hpsv3_scorer(const ScorerSource& source, const LoadOptions& options, Control& control);

}  // namespace drm
