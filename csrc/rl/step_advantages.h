// Advantages of an iteration (Eq. 11; with one candidate a state Eq. 3): how much better each reward is than those that
// it is compared with. Rewards of one denoising step are compared with each other alone, since those of different noise
// levels mean different things.
#pragma once
#include <cstdint>
#include <vector>

#include "rl/group_advantages.h"

namespace drm {

/// Rewards of `steps` x states x `candidates`, in this order.
struct StepRewards {
  std::vector<float> rewards;     // those that are not finite are left out of all statistics
  int64_t steps = 1;              // denoising steps with rewards of their own
  int64_t candidates = 1;         // of a state
  std::vector<int64_t> group_of;  // of each state, any number: candidates of states with equal numbers are one group
};

struct StepAdvantages {
  std::vector<float> values;           // like the rewards; 0 where the reward is not finite
  std::vector<Advantages> statistics;  // of each step; their own values are empty
};

/// Throws Failure(Internal) when the numbers of rewards, steps, states and candidates do not fit together.
StepAdvantages step_advantages(const StepRewards& rewards, const AdvantageOptions& options = {});

}  // namespace drm
