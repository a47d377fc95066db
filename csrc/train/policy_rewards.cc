#include "train/policy_rewards.h"

#include "reward/reward_scorer.h"

namespace drm {

PolicyRewards prepare_rewards(const PolicyInputs& in, const RewardedPolicy& policy, const PolicyPrompts& prompts,
                              const PromptEmbeds& policys_own, const Control& control) {
  PolicyRewards s;
  for (const auto& [shared, weight] : in.rewards) {
    const auto& net = *shared;
    require_same_base(net, policy.model);
    if (const auto device = net.head.score.weight.device(); device != policy.device)
      throw Failure(Code::BadRequest, "[policy] reward model: expected it on " + policy.device.str() +
                                          " as the policy, found " + device.str());
    const auto length = net.config.t5_length;
    const bool same_length = length == policy.t5_length, without_t5 = !policy.has_t5;
    if (!same_length && !without_t5 && in.reward_prompts.size() != in.prompts.size())
      throw Failure(Code::BadRequest, "[policy] reward model: expected prompts of " + std::to_string(length) +
                                          " T5 tokens, found those of the policy; reward models in one sum must "
                                          "read equally many");
    const auto embeds =
        same_length ? policys_own : prompts.encode(without_t5 ? in.prompts : in.reward_prompts, length, control);
    auto text = select_rows(embed_for_reward(net, embeds), in.prompt_of);
    const auto most = rows_per_pass(net, text, policy.height, policy.width);
    s.rows_per_pass = s.rows_per_pass == 0 ? most : std::min(s.rows_per_pass, most);
    s.scorers.push_back({reward_scorer(net, std::move(text)), weight});
  }
  return s;
}

}  // namespace drm
