// A reward model inside the sampling loop: which policies it fits, and scores of candidates at their own noise level
// with the conditional prompt alone.
#pragma once
#include "flow/sampler.h"
#include "reward/reward_net.h"

namespace drm {

/// Throws Failure(BadConfig) naming the widths at fault when `net` cannot read latents and prompts of the policy: it
/// was trained on another base.
void require_same_base(const RewardNet& net, const VelocityModelInfo& policy);

/// Prompt embeds as the reward model reads them: by its own embedders, in its dtype.
TextEmbedding embed_for_reward(const RewardNet& net, const PromptEmbeds& embeds);

/// Candidates scored at once for latents of that size, so that activations stay bounded.
int64_t rows_per_pass(const RewardNet& net, const TextEmbedding& text, int64_t latent_height, int64_t latent_width);

/// `text` has a row for each image, embedded by the reward's own embedders. Refers to `net`. What a step's rows read
/// of the text is laid out once and kept: steps of one shape copy nothing to the device.
LatentScorer reward_scorer(const RewardNet& net, TextEmbedding text);

}  // namespace drm
