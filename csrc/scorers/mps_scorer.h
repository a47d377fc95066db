// MPS as a judge of images: see mps_model.h.
#pragma once
#include "scorers/scorer.h"

namespace drm {

/// Config: read_mps_config(); images as transformers prepares them. Settings: "condition", the token ids of the words
/// that say what is judged (cli/text/mps_condition.ts), as long as a prompt's; "threshold", 0.3, of the similarity
/// that a prompt's token must exceed to be looked at, as its largest one's share (0.01 in the reference's own forward).
/// Prompts are padded with the end token, since MPS looks at the padding too. Each image is judged alone, its
/// similarities divided by its own largest. Scores are e^s times a cosine; features of their own it has none.
std::shared_ptr<Scorer> load_mps_scorer(const ScorerSource& source, const LoadOptions& options, Control& control);

}  // namespace drm
