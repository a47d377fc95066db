// How the scorers of CLIP's family read texts.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "text/clip.h"

namespace drm {

/// The id whose state is the text's: config.eos_token_id, or the vocabulary's last one under the legacy value 2.
int64_t end_token(const ClipConfig& config);

/// token_rows() of max_position_embeddings ids, each with the end token among them: without one the tower would take
/// another place for the text's. Throws Failure(BadRequest).
at::Tensor clip_rows(const char* scorer, const std::vector<std::vector<int64_t>>& ids, size_t begin, size_t end,
                     const ClipConfig& config);

}  // namespace drm
