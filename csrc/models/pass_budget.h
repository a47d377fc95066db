// How much a network call is given: enough tokens to keep a device busy, few enough to bound its activations.
#pragma once
#include <algorithm>
#include <cstdint>

namespace drm {

/// Tokens of a call, image and text together.
enum class PassBudget : int64_t {
  Scorer = 4096,      // a scorer's tower, which is small
  Sampling = 8192,    // guided sampling, where each row goes through twice
  Scoring = 8192,     // images by a reward model
  Candidates = 16384  // candidates of step-wise sampling: K = 6 at 512 pixels in one pass
};

/// Rows of that many tokens each in a call; at least one.
inline int64_t rows_per_pass(PassBudget budget, int64_t tokens_of_row) {
  return std::max<int64_t>(1, static_cast<int64_t>(budget) / std::max<int64_t>(1, tokens_of_row));
}

}  // namespace drm
