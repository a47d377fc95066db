#include "rl/rollout.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "common/stopwatch.h"
#include "random/philox.h"

namespace drm {
namespace {

void check(const RolloutOptions& o, int64_t steps, size_t scorers) {
  const auto refuse = [](const std::string& what) { throw Failure(Code::BadRequest, "[rollout] " + what); };
  if (o.k < 1 || o.k > kMostCandidates)
    refuse("k: expected 1 to " + std::to_string(kMostCandidates) + " candidates, found " + std::to_string(o.k));
  if (o.from < 0 || o.from >= o.until || o.until > steps)
    refuse("steps with noise: expected a window within 0 to " + std::to_string(steps) + ", found " +
           std::to_string(o.from) + " to " + std::to_string(o.until));
  if (o.k > 1 && scorers == 0) refuse("candidates: expected a reward that scores them, found none");
}

Tensor weighted_sum(const std::vector<Tensor>& scores, const std::vector<WeightedScorer>& scorers) {
  auto sum = at::zeros_like(scores.front());
  for (size_t i = 0; i < scores.size(); ++i) sum = sum + scorers[i].weight * scores[i];
  return sum;
}

}  // namespace

RolloutNoise noise_of_keys(uint64_t seed, const std::vector<int64_t>& samples, at::Device device) {
  const auto keys = branch_keys(std::vector<uint64_t>(samples.size(), seed), samples, device);
  return {[keys](const Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, int64_t index, int64_t k) {
            return branch(x, velocity, step, keys, index, k);
          },
          [seed, samples, device](int64_t index, int64_t k) {
            auto chosen = at::empty({static_cast<int64_t>(samples.size())}, at::kLong);
            for (size_t b = 0; b < samples.size(); ++b) {
              const Draw draw{seed, Purpose::Continue, static_cast<uint32_t>(index), static_cast<uint32_t>(samples[b])};
              const auto u = static_cast<double>(uniform_from(philox(draw, 0).word[0]));
              chosen.data_ptr<int64_t>()[b] = std::min(k - 1, static_cast<int64_t>(u * static_cast<double>(k)));
            }
            return chosen.to(device);
          }};
}

Trajectories roll_out(const GuidedPolicy& policy, Tensor latents, const Schedule& schedule,
                      const RolloutOptions& options, const RolloutNoise& noise,
                      const std::vector<WeightedScorer>& scorers, const Control& control,
                      const std::function<void(int64_t)>& stepped, RolloutTimes* times) {
  const at::NoGradGuard no_grad;
  const auto steps = static_cast<int64_t>(schedule.timesteps.size());
  check(options, steps, scorers.size());
  Trajectories all;
  std::vector<std::vector<Tensor>> of_states(scorers.size());
  const auto score = [&](const Tensor& candidates, double sigma) {
    const Stopwatch clock(times ? &times->reward : nullptr);
    std::vector<Tensor> scores;
    for (const auto& s : scorers) scores.push_back(score_candidates(s.score, candidates, sigma, options.rows_per_pass));
    return scores;
  };
  const auto score_state = [&](const Tensor& state, int64_t index) {
    const auto scores = score(state.unsqueeze(1), schedule.sigmas[static_cast<size_t>(index)]);
    for (size_t i = 0; i < scores.size(); ++i) of_states[i].push_back(scores[i].squeeze(1));
  };
  const auto chosen_of = [&](const RolloutStep& s, const Tensor& state) -> Tensor {
    if (options.k == 1 || options.continuation == Continuation::First)
      return at::zeros({state.size(0)}, state.options().dtype(at::kLong));
    if (options.continuation == Continuation::Random) return noise.choose(s.index, options.k);
    auto unscored = at::full({state.size(0)}, -1, state.options().dtype(at::kInt));
    return select(s.candidates, weighted_sum(s.scores, scorers).contiguous(), {}, s.index, unscored).index;
  };
  std::optional<Stopwatch> policy_clock;
  Walk w;
  w.before = [&](const Tensor& state, int64_t i) {
    if (options.score_states && i >= options.from && i <= options.until) score_state(state, i);
    policy_clock.emplace(times ? &times->policy : nullptr);
  };
  w.branch = [&](const Tensor& state, const GuidedVelocity& velocity, int64_t i) -> Tensor {
    if (i < options.from || i >= options.until) return {};
    RolloutStep s{i, noisy_step(options.noise, schedule.sigmas, i, options.noise_level), state};
    s.candidates = noise.branch(state, velocity, s.step, i, options.k);
    s.old_log_prob =
        candidate_log_prob(options.noise, s.candidates, step_mean(state, guided(velocity), s.step), s.step);
    policy_clock.reset();
    if (options.k > 1) s.scores = score(s.candidates, schedule.sigmas[static_cast<size_t>(i) + 1]);
    Tensor next;  // none: the Euler step
    if (options.continuation != Continuation::Ode || options.k == 1) {
      s.chosen = chosen_of(s, state);
      const auto row = at::arange(state.size(0), s.chosen.options());
      next = s.candidates.flatten(0, 1).index_select(0, row * options.k + s.chosen);
    }
    all.steps.push_back(std::move(s));
    return next;
  };
  w.after = [&](const Tensor& state, const GuidedVelocity&, int64_t i) {
    policy_clock.reset();
    // One wait for the device a step, beside two passes of the network: images of NaN would be scored for minutes.
    if (!at::isfinite(state).all().item<bool>())
      throw Failure(Code::NotFinite,
                    "[rollout] step " + std::to_string(i + 1) + " of " + std::to_string(steps) +
                        ": expected finite latents, found NaN or infinity; the policy has diverged: "
                        "go on from an earlier checkpoint with a lower learning rate",
                    {{"name", "latents"}, {"found", "nan"}, {"step", std::to_string(i + 1)}});
    if (stepped) stepped(i);
  };
  latents = walk(policy, std::move(latents), schedule, w, control);
  if (options.score_states && options.until == steps) score_state(latents, steps);
  all.final = latents;
  if (options.score_states) {
    for (auto& states : of_states) all.scores.push_back(at::stack(states));
  } else if (options.k == 1) {
    for (auto& s : score(latents.unsqueeze(1), 0)) all.scores.push_back(s.squeeze(1));
  }
  return all;
}

}  // namespace drm
