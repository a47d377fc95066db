// Group advantages (Eq. 3; reference: flow_grpo's PerPromptStatTracker): how much better a reward is than those of its
// group.
#pragma once
#include <cstdint>
#include <vector>

namespace drm {

struct AdvantageOptions {
  double epsilon = 1e-4;          // added to the deviation
  bool global_deviation = false;  // divide by the deviation of all rewards, not of the group's
};

struct Advantages {
  std::vector<float> values;  // 0 where the reward is not finite
  int64_t groups = 0;
  int64_t zero_variance = 0;  // groups whose finite rewards are all equal: nothing to learn from them
  int64_t not_finite = 0;     // rewards; left out of all statistics
  // Of finite rewards; deviations are biased (divided by n).
  double mean = 0, deviation = 0;
  double group_deviation = 0;  // mean over the groups
};

/// (reward - mean of its group) / (deviation + epsilon), in fp64: equal rewards give exactly 0. `group_of` names each
/// reward's group by any number; members may lie anywhere. Throws Failure(Internal) when the lengths differ.
Advantages group_advantages(const std::vector<float>& rewards, const std::vector<int64_t>& group_of,
                            const AdvantageOptions& options = {});

}  // namespace drm
