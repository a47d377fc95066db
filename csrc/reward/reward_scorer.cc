#include "reward/reward_scorer.h"

#include <ATen/ATen.h>

#include <map>
#include <memory>

#include "common/failure.h"
#include "models/pass_budget.h"

namespace drm {

void require_same_base(const RewardNet& net, const VelocityModelInfo& policy) {
  const auto& own = net.backbone->info();
  std::string differing;
  const auto compare = [&](const char* what, int64_t found, int64_t expected) {
    if (found != expected)
      differing += (differing.empty() ? "" : ", ") + std::string(what) + " " + std::to_string(expected) + " (found " +
                   std::to_string(found) + ")";
  };
  compare("latent channels", own.in_channels, policy.in_channels);
  compare("patch", own.patch_size, policy.patch_size);
  compare("width of the prompt's states", own.sequence_width, policy.sequence_width);
  compare("width of the pooled prompt", own.pooled_width, policy.pooled_width);
  if (!differing.empty())
    throw Failure(Code::BadConfig,
                  "[reward] the reward model was trained on another base than the model that samples: "
                  "expected " +
                      differing + "; use a reward model of this base, or the base it names");
}

TextEmbedding embed_for_reward(const RewardNet& net, const PromptEmbeds& embeds) {
  return net.backbone->embed_text(embeds_in(embeds, net.backbone->dtype()));
}

int64_t rows_per_pass(const RewardNet& net, const TextEmbedding& text, int64_t height, int64_t width) {
  const auto patch = net.backbone->info().patch_size;
  return rows_per_pass(PassBudget::Candidates, height * width / (patch * patch) + text.tokens());
}

LatentScorer reward_scorer(const RewardNet& net, TextEmbedding text) {
  using Rows = std::map<std::vector<int64_t>, TextEmbedding>;
  return [&net, text = std::move(text), laid_out = std::make_shared<Rows>()](const Tensor& candidates, double sigma,
                                                                             const std::vector<int64_t>& image_of) {
    auto it = laid_out->find(image_of);
    if (it == laid_out->end()) {
      const auto index = at::tensor(image_of, at::kLong).to(candidates.device());
      it = laid_out->emplace(image_of, select_rows(text, index)).first;
    }
    const auto timestep = at::full({candidates.size(0)}, static_cast<float>(sigma) * 1000, candidates.options());
    return reward(net, candidates.to(net.backbone->dtype()), timestep, it->second);
  };
}

}  // namespace drm
