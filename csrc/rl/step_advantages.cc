#include "rl/step_advantages.h"

#include <string>

#include "common/failure.h"

namespace drm {

StepAdvantages step_advantages(const StepRewards& r, const AdvantageOptions& options) {
  const auto states = static_cast<int64_t>(r.group_of.size()), each = states * r.candidates;
  if (r.steps < 1 || r.candidates < 1 || static_cast<int64_t>(r.rewards.size()) != r.steps * each)
    throw Failure(Code::Internal, "[advantages] " + std::to_string(r.rewards.size()) + " rewards for " +
                                      std::to_string(r.steps) + " steps x " + std::to_string(states) + " states x " +
                                      std::to_string(r.candidates) + " candidates");
  std::vector<int64_t> groups;
  for (const auto group : r.group_of) groups.insert(groups.end(), static_cast<size_t>(r.candidates), group);
  StepAdvantages all;
  for (int64_t step = 0; step < r.steps; ++step) {
    const auto begin = r.rewards.begin() + step * each;
    auto of_step = group_advantages({begin, begin + each}, groups, options);
    all.values.insert(all.values.end(), of_step.values.begin(), of_step.values.end());
    of_step.values.clear();
    all.statistics.push_back(std::move(of_step));
  }
  return all;
}

}  // namespace drm
