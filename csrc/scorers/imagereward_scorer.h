// ImageReward as a judge of images.
#pragma once
#include "scorers/scorer.h"

namespace drm {

/// The published weights beside a config of read_imagereward_config()'s form. Images are prepared by torchvision's
/// crop; a prompt is a row of info().tokens ids, padded at its end. No settings. See load_scorer().
std::shared_ptr<Scorer> load_imagereward_scorer(const ScorerSource& source, const LoadOptions& options,
                                                Control& control);

}  // namespace drm
