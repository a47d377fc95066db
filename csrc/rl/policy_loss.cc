#include "rl/policy_loss.h"

#include <ATen/ATen.h>

#include "common/failure.h"

namespace drm {

using at::Tensor;

SdeStep noisy_step(StepNoise noise, const std::vector<float>& sigmas, int64_t index, double level) {
  const auto step = noise == StepNoise::Sde ? sde_step(sigmas, index, level) : cps_step(sigmas, index, level);
  if (step.euler())
    throw Failure(Code::BadRequest, "[policy] step " + std::to_string(index + 1) +
                                        ": expected noise, found none at noise level " + std::to_string(level) +
                                        ", which leaves nothing to learn; give a noise level above 0" +
                                        (noise == StepNoise::Cps ? ", and let CPS end before the last step" : ""));
  return step;
}

Tensor candidate_log_prob(StepNoise noise, const Tensor& candidates, const Tensor& mean, const SdeStep& step) {
  const auto means = mean.unsqueeze(1).expand_as(candidates).flatten(0, 1), next = candidates.flatten(0, 1);
  const auto each = noise == StepNoise::Sde ? log_prob(next, means, step) : cps_log_prob(next, means);
  return each.view({candidates.size(0), candidates.size(1)});
}

Tensor policy_divergence(PolicyDivergence kind, const Tensor& mean, const Tensor& reference_mean,
                         const Tensor& velocity, const Tensor& reference_velocity, const SdeStep& step) {
  if (kind == PolicyDivergence::Velocity) return (velocity - reference_velocity).square().flatten(1).mean(1);
  return step_divergence(mean, reference_mean, step,
                         kind == PolicyDivergence::Flow ? Divergence::Flow : Divergence::Exact);
}

Tensor clamp_advantages(const Tensor& advantages, double clip) {
  return clip > 0 ? advantages.clamp(-clip, clip) : advantages;
}

PolicyLoss policy_loss(const Tensor& log_prob, const Tensor& old_log_prob, const Tensor& advantages,
                       const Tensor& divergence, const PolicyLossOptions& options) {
  const auto difference = log_prob - old_log_prob;
  const auto ratio = at::exp(difference);
  const auto a = clamp_advantages(advantages, options.advantage_clip);
  const auto clipped = ratio.clamp(1 - options.clip_range, 1 + options.clip_range);
  PolicyLoss l;
  l.policy = at::maximum(-a * ratio, -a * clipped).mean();
  l.total = l.policy;
  if (divergence.defined()) {
    l.kl = divergence.mean();
    l.total = l.policy + options.kl_beta * l.kl;
  }
  l.ratio = ratio.detach();
  l.approx_kl = difference.detach().square().mean() / 2;
  l.clip_high = (l.ratio - 1).gt(options.clip_range).to(at::kFloat).mean();
  l.clip_low = (1 - l.ratio).gt(options.clip_range).to(at::kFloat).mean();
  return l;
}

}  // namespace drm
