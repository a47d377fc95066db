// Which of the published scorers a file's tensors look like, for messages about a file that is another's.
#pragma once
#include <string>

#include "tensor_io/weights.h"

namespace drm {

/// "these look like the weights of ImageReward: ..."; empty where nothing is recognised.
std::string looks_like(const Weights& weights);

}  // namespace drm
