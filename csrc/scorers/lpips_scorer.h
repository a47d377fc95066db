// LPIPS as a judge of two images: how far they are apart in a classifier's eyes.
#pragma once
#include "scorers/scorer.h"

namespace drm {

/// Weights: torchvision's AlexNet or VGG16 and the authors' lin weights, in one file or two. Without a config the
/// network is told from the keys. Settings: {"feature_mb": room for features that later pairs need, in MiB}. Has
/// distances(), of images of any size from that on which the network's last stage needs; both of a pair have one size.
/// See load_scorer().
std::shared_ptr<Scorer> load_lpips_scorer(const ScorerSource& source, const LoadOptions& options, Control& control);

}  // namespace drm
