#include "rl/group_advantages.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "common/failure.h"

namespace drm {
namespace {

/// Mean and biased deviation of the finite rewards, in two passes: equal rewards have deviation 0 exactly.
struct Spread {
  int64_t count = 0;
  double sum = 0, squares = 0;
  double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
  double deviation() const { return count > 0 ? std::sqrt(squares / static_cast<double>(count)) : 0; }
};

}  // namespace

Advantages group_advantages(const std::vector<float>& rewards, const std::vector<int64_t>& group_of,
                            const AdvantageOptions& options) {
  if (rewards.size() != group_of.size())
    throw Failure(Code::Internal, "[advantages] " + std::to_string(rewards.size()) + " rewards in " +
                                      std::to_string(group_of.size()) + " groups");
  std::unordered_map<int64_t, Spread> groups;
  Spread all;
  for (const auto pass : {0, 1})
    for (size_t i = 0; i < rewards.size(); ++i) {
      auto& group = groups[group_of[i]];
      const double reward = rewards[i];
      if (!std::isfinite(reward)) continue;
      for (auto* spread : {&group, &all})
        if (pass == 0) {
          spread->count += 1;
          spread->sum += reward;
        } else {
          const auto distance = reward - spread->mean();
          spread->squares += distance * distance;
        }
    }

  Advantages a;
  a.groups = static_cast<int64_t>(groups.size());
  a.mean = all.mean();
  a.deviation = all.deviation();
  for (const auto& [id, group] : groups) {
    if (group.squares == 0) a.zero_variance += 1;
    a.group_deviation += group.deviation() / static_cast<double>(groups.size());
  }
  a.values.reserve(rewards.size());
  for (size_t i = 0; i < rewards.size(); ++i) {
    const double reward = rewards[i];
    if (!std::isfinite(reward)) {
      a.not_finite += 1;
      a.values.push_back(0);
      continue;
    }
    const auto& group = groups[group_of[i]];
    const auto deviation = options.global_deviation ? all.deviation() : group.deviation();
    const auto distance = reward - group.mean();  // 0 stays 0 whatever it is divided by
    a.values.push_back(distance == 0 ? 0 : static_cast<float>(distance / (deviation + options.epsilon)));
  }
  return a;
}

}  // namespace drm
