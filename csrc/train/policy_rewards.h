// The reward models of a rollout, ready to score latents.
#pragma once
#include "rl/rollout.h"
#include "train/policy_prompts.h"
#include "train/spec.h"

namespace drm {

struct PolicyRewards {
  std::vector<WeightedScorer> scorers;
  int64_t rows_per_pass = 0;  // 0 without rewards
};

/// What the policy is, for its rewards.
struct RewardedPolicy {
  const VelocityModelInfo& model;
  at::Device device;
  int64_t t5_length = 0;
  bool has_t5 = false;
  int64_t height = 0, width = 0;  // of latents
};

/// Scorers of each trajectory's own prompt; they refer to the reward models of `inputs`. Throws Failure(BadConfig |
/// BadRequest) for a reward model of another base, on another device, or whose prompts were not given.
PolicyRewards prepare_rewards(const PolicyInputs& inputs, const RewardedPolicy& policy, const PolicyPrompts& prompts,
                              const PromptEmbeds& policys_own, const Control& control);

}  // namespace drm
