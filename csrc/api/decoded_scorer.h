// A scorer of finished images inside the sampling loop: it sees what each candidate would become, decoded.
#pragma once
#include <memory>

#include "api/candidates.h"
#include "scorers/scorer.h"

namespace drm {

/// Who judges the images of a batch, and by what.
struct BatchJudge {
  std::shared_ptr<Scorer> scorer;          // on any device
  std::vector<std::vector<int64_t>> rows;  // of token ids, of each image's prompt; empty: no text is read
  double factor = 1;                       // its number times this is the score
};

/// Scores of the policy's estimates of x_0 as 8-bit images. A pass of the policy and a decoding each candidate, a few
/// of them decoded at once, and every call waits for the device. Refers to what `view` refers to, and to `control`,
/// which it checks.
LatentScorer decoded_scorer(const CandidateView& view, BatchJudge judge, const Control& control);

/// Candidates scored at once for latents of that size, so that the policy's activations stay bounded.
int64_t rows_per_pass(const CandidateView& view, int64_t latent_height, int64_t latent_width);

}  // namespace drm
