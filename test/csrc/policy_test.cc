// Policy training: advantages by hand, laws of the rollout, and the embedded model's adapter under both algorithms.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "api/pipeline.h"
#include "api/reward_model.h"
#include "check.h"
#include "rl/rollout.h"
#include "rl/step_advantages.h"
#include "train/policy_objective.h"
#include "training.h"

using namespace drm;
using at::Tensor;
using test::metric;

namespace {

const std::string kModels = std::string(DRM_GOLDEN) + "/../../models/";

std::shared_ptr<RewardModel> embedded_reward() {
  static const auto reward = [] {
    Control control;
    return RewardModel::load({{kModels + "tiny-drm/config.json", {kModels + "tiny-drm/model.safetensors"}}, {}},
                             {test::device_name()}, control);
  }();
  return reward;
}

PolicySpec policy_spec() {
  PolicySpec s;
  s.source = test::pipeline_at(kModels + "tiny/");
  s.t5_length = 0;
  s.denoising_steps = 4;
  s.guidance = 3;
  s.lora.rank = 4;
  s.lora.alpha = 8;
  return s;
}

RolloutRequest request(int64_t trajectories, int64_t k, int64_t iteration = 0) {
  RolloutRequest r;
  r.iteration = iteration;
  r.prompts = {test::tiny_tokens(0), test::tiny_tokens(1)};
  r.negative = test::tiny_tokens(2);
  for (int64_t i = 0; i < trajectories; ++i) {
    r.prompt_of.push_back(i % 2);
    r.samples.push_back(i);
    r.latents.push_back(i);
  }
  r.k = k;
  r.until = 3;
  r.rewards = {{embedded_reward()->net(), 1}};
  return r;
}

struct Learner {
  PolicyObjective* policy;
  Trainer trainer;

  explicit Learner(const PolicySpec& spec, TrainerOptions options = {})
      : Learner(
            [&] {
              Control control;
              return PolicyObjective::create(spec, 3, at::kFloat, test::device(), control);
            }(),
            options) {}

 private:
  Learner(std::unique_ptr<PolicyObjective> made, const TrainerOptions& options)
      : policy(made.get()), trainer(std::move(made), options) {}
};

/// A batch for each trained step, of these rows; advantage i % 3 - 1 of candidate i.
std::vector<TrainBatch> batches(const std::vector<int64_t>& rows, int64_t k, int64_t steps = 3) {
  std::vector<TrainBatch> all;
  for (int64_t j = 0; j < steps; ++j) {
    TrainBatch b;
    b.samples = rows;
    b.step = j;
    for (const auto row : rows)
      for (int64_t i = 0; i < k; ++i) b.advantages.push_back(static_cast<float>((row * k + i) % 3) - 1);
    all.push_back(std::move(b));
  }
  return all;
}

std::vector<int64_t> range(int64_t from, int64_t until) {
  std::vector<int64_t> all(static_cast<size_t>(until - from));
  std::iota(all.begin(), all.end(), from);
  return all;
}

double largest_ratio_error(Learner& l, const std::vector<TrainBatch>& all) {
  double most = 0;
  for (const auto& b : all) most = std::max(most, l.policy->ratio_error(b));
  return most;
}

double mean_distance(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]).abs().mean().item<double>();
  return sum;
}

}  // namespace

TEST(advantages_are_distances_in_deviations_of_the_group) {
  const auto a = group_advantages({1, 3, 10, 10, 2, 2}, {7, 7, 8, 8, 9, 9}, {0});
  CHECK(a.values == std::vector<float>({-1, 1, 0, 0, 0, 0}));
  CHECK(a.groups == 3 && a.zero_variance == 2 && a.not_finite == 0);
  CHECK(std::abs(a.group_deviation - 1.0 / 3) < 1e-12);
}

TEST(equal_rewards_give_no_advantage_at_all) {
  for (const float reward : {0.1f, -3e30f, 1e-30f}) {
    const auto a = group_advantages(std::vector<float>(24, reward), std::vector<int64_t>(24, 0));
    for (const auto v : a.values) CHECK(v == 0);
    CHECK(a.zero_variance == 1);
  }
}

TEST(a_reward_that_is_no_number_is_left_out_of_its_group) {
  const auto nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const auto a = group_advantages({1, nan, 3, infinity, nan}, {0, 0, 0, 0, 1}, {0});
  CHECK(a.values == std::vector<float>({-1, 0, 1, 0, 0}));
  CHECK(a.not_finite == 3 && a.mean == 2);
}

TEST(advantages_do_not_depend_on_the_order_of_candidates) {
  const std::vector<float> rewards{0.3f, -1.7f, 2.2f, 0.9f, -0.4f, 1.1f};
  const auto forward = group_advantages(rewards, std::vector<int64_t>(6, 0));
  std::vector<float> reversed(rewards.rbegin(), rewards.rend());
  const auto backward = group_advantages(reversed, std::vector<int64_t>(6, 0));
  for (size_t i = 0; i < 6; ++i) CHECK(std::abs(forward.values[i] - backward.values[5 - i]) < 1e-6);
}

TEST(steps_and_states_are_compared_each_by_itself) {
  // Two steps of two states with two candidates: Step-GRPO's groups, and all of a step as one.
  const StepRewards apart{{1, 3, 10, 30, 5, 5, -1, 1}, 2, 2, {0, 1}};
  const auto a = step_advantages(apart, {0});
  CHECK(a.values == std::vector<float>({-1, 1, -1, 1, 0, 0, -1, 1}));
  CHECK(a.statistics.size() == 2 && a.statistics[0].groups == 2 && a.statistics[1].zero_variance == 1);
  CHECK(a.statistics[0].mean == 11 && a.statistics[1].mean == 2.5);
  auto together = apart;
  together.group_of = {7, 7};
  const auto b = step_advantages(together, {0});
  CHECK(b.statistics[0].groups == 1 && b.values[3] > 1.5f && b.values[0] < 0);
  auto odd = apart;
  odd.steps = 3;
  EXPECT_FAILURE(Internal, ({"8 rewards", "3 steps", "2 states"}), step_advantages(odd));
}

TEST(before_the_first_update_the_ratio_is_1_exactly) {
  auto cps = policy_spec(), recomputed = policy_spec(), unguided = policy_spec(), text = policy_spec();
  cps.sde = "cps";
  recomputed.gradient_checkpointing = true;
  unguided.guidance = 1;
  text.lora.targets.emplace_back("context_embedder");
  for (const auto& spec : {policy_spec(), cps, recomputed, unguided, text})
    for (const int64_t k : {1, 3}) {
      Learner l(spec);
      Control control;
      l.policy->rollout(request(4, k), control);
      CHECK(largest_ratio_error(l, batches(range(0, 4), k)) == 0);
      l.trainer.step(batches(range(0, 4), k), 0, 0.05, control);
      CHECK(largest_ratio_error(l, batches(range(0, 4), k)) > 1e-6);
      // The next rollout is of the new policy.
      l.policy->rollout(request(4, k, 1), control);
      CHECK(largest_ratio_error(l, batches(range(0, 4), k)) == 0);
    }
}

TEST(a_trajectory_does_not_depend_on_what_is_sampled_beside_it) {
  Learner together(policy_spec()), apart(policy_spec());
  Control control;
  const auto all = together.policy->rollout(request(4, 3), control);
  auto one = request(4, 3);
  one.prompt_of = {1};
  one.samples = one.latents = {3};
  const auto alone = apart.policy->rollout(one, control);
  for (int64_t step = 0; step < 3; ++step)
    for (int64_t i = 0; i < 3; ++i)
      CHECK(std::abs(alone.scores[0][step * 3 + i] - all.scores[0][(step * 4 + 3) * 3 + i]) < 1e-3);
}

TEST(micro_batches_and_rollouts_in_parts_give_the_same_update) {
  for (const int64_t k : {1, 3}) {
    Learner whole(policy_spec()), parts(policy_spec());
    Control control;
    const auto first = test::copies(whole.trainer);
    whole.policy->rollout(request(4, k), control);
    const auto metrics = whole.trainer.step(batches(range(0, 4), k), 0, 1e-3, control);
    for (int64_t i = 0; i < 4; i += 2) {
      auto r = request(4, k);
      for (auto* list : {&r.prompt_of, &r.samples, &r.latents}) *list = {(*list)[i], (*list)[i + 1]};
      CHECK(parts.policy->rollout(r, control).first_row == i);
    }
    std::vector<TrainBatch> small;
    for (int64_t i = 0; i < 4; ++i)
      for (auto& b : batches(range(i, i + 1), k)) small.push_back(std::move(b));
    const auto same = parts.trainer.step(small, 0, 1e-3, control);
    CHECK(std::abs(metric(metrics, "grad_norm") / metric(same, "grad_norm") - 1) < 1e-3);
    // Adam makes a step of every gradient, however small, so parameters are compared by what they moved on average.
    CHECK(mean_distance(test::copies(whole.trainer), test::copies(parts.trainer)) <
          0.02 * mean_distance(test::copies(whole.trainer), first));
  }
}

TEST(advantages_of_nothing_change_nothing) {
  TrainerOptions options;
  options.weight_decay = 0;
  Learner l(policy_spec(), options);
  Control control;
  const auto before = test::copies(l.trainer);
  l.policy->rollout(request(2, 3), control);
  auto none = batches(range(0, 2), 3);
  for (auto& b : none) std::fill(b.advantages.begin(), b.advantages.end(), 0.0f);
  CHECK(metric(l.trainer.step(none, 0, 1e-2, control), "grad_norm") == 0);
  CHECK(test::same(before, test::copies(l.trainer)));
}

TEST(what_cannot_be_learned_from_is_said) {
  auto quiet = policy_spec();
  quiet.noise_level = 0;
  Control control;
  Learner silent(quiet);
  EXPECT_FAILURE(BadRequest, ({"noise level 0", "nothing to learn"}), silent.policy->rollout(request(2, 1), control));
  auto cps = policy_spec();
  cps.sde = "cps";
  Learner to_the_end(cps);
  auto whole = request(2, 1);
  whole.until = 4;
  EXPECT_FAILURE(BadRequest, ({"step 4", "CPS"}), to_the_end.policy->rollout(whole, control));
  Learner l(policy_spec());
  auto unscored = request(2, 3);
  unscored.rewards.clear();
  EXPECT_FAILURE(BadRequest, ({"candidates", "reward"}), l.policy->rollout(unscored, control));
  auto nowhere = policy_spec();
  nowhere.lora.targets = {"attn.nowhere"};
  EXPECT_FAILURE(BadRequest, ({"targets"}), Learner(std::as_const(nowhere)));
  auto odd = policy_spec();
  odd.size = 60;
  EXPECT_FAILURE(BadRequest, ({"size", "multiple of 16", "60"}), Learner(std::as_const(odd)));
}

TEST(the_best_candidate_and_the_first_and_none) {
  const auto schedule = sampling_schedule({1000, 3.0}, 4);
  const GuidedPolicy still = [](const Tensor& x, int64_t) -> GuidedVelocity { return {{}, at::zeros_like(x), 1}; };
  const LatentScorer brightness = [](const Tensor& c, double, const std::vector<int64_t>&) {
    return c.flatten(1).mean(1);
  };
  const auto x = at::zeros({2, 4, 2, 2}, test::device());
  RolloutOptions o;
  o.k = 5;
  o.until = 3;
  const auto noise = noise_of_keys(1, {10, 11}, test::device());
  const auto walk = [&](Continuation rule) {
    o.continuation = rule;
    return roll_out(still, x, schedule, o, noise, {{brightness, 1}}, {});
  };
  const auto best = walk(Continuation::Best), first = walk(Continuation::First), none = walk(Continuation::Ode),
             chance = walk(Continuation::Random);
  for (const auto& s : best.steps) CHECK(at::equal(s.chosen, s.scores[0].argmax(1)));
  for (const auto& s : first.steps) CHECK(s.chosen.eq(0).all().item<bool>());
  CHECK(none.final.eq(0).all().item<bool>());  // without velocity or noise nothing moves
  CHECK(best.final.mean().item<double>() > chance.final.mean().item<double>());
  // Candidates are the same numbers at the first step, whichever goes on.
  CHECK(at::equal(best.steps[0].candidates, chance.steps[0].candidates));
}

TEST(chance_is_uniform) {
  std::vector<int64_t> samples(3000);
  std::iota(samples.begin(), samples.end(), 0);
  const auto counts = at::bincount(noise_of_keys(5, samples, test::device()).choose(2, 6), {}, 6);
  for (int64_t i = 0; i < 6; ++i) CHECK(std::abs(counts[i].item<double>() - 500) < 100);  // 4.9 deviations
}

TEST(steps_outside_the_window_are_euler_steps) {
  const auto schedule = sampling_schedule({1000, 3.0}, 6);
  const GuidedPolicy policy = [](const Tensor& x, int64_t i) -> GuidedVelocity { return {{}, x * 0.1 * (i + 1), 1}; };
  RolloutOptions o;
  o.from = 2;
  o.until = 4;
  auto x = test::randn({2, 4, 2, 2});
  const auto walked = roll_out(policy, x, schedule, o, noise_of_keys(1, {0, 1}, test::device()), {}, {});
  CHECK(walked.steps.size() == 2 && walked.steps[0].index == 2 && walked.steps[1].index == 3);
  for (int64_t i = 0; i < 2; ++i) x = euler_step(x, guided(policy(x, i)), schedule.sigmas[i], schedule.sigmas[i + 1]);
  CHECK(at::equal(walked.steps[0].state, x));
}

/// A smoke test of all signs at once: brightness is punished, so images must become darker.
TEST(a_reward_of_minus_the_mean_pixel_darkens_images) {
  auto spec = policy_spec();
  spec.lora.rank = 8;
  spec.lora.alpha = 16;
  Learner l(spec);
  Control control;
  std::vector<float> brightness;
  control.on_event = [&](Event&& e) {
    double sum = 0;
    for (const auto b : e.bytes) sum += b;
    brightness.push_back(static_cast<float>(sum / static_cast<double>(e.bytes.size())));
  };
  const auto mean = [&] { return std::accumulate(brightness.begin(), brightness.end(), 0.0) / brightness.size(); };
  double before = 0;
  for (int64_t iteration = 0; iteration < 10; ++iteration) {
    auto r = request(12, 1, iteration);
    r.rewards.clear();
    r.images = true;
    for (auto& s : r.samples) s += 12 * iteration;
    r.latents = r.samples;
    brightness.clear();
    l.policy->rollout(r, control);
    if (iteration == 0) before = mean();
    auto rewards = brightness;
    for (auto& b : rewards) b = -b;
    const auto a = group_advantages(rewards, r.prompt_of);
    auto all = batches(range(0, 12), 1);
    for (auto& b : all) b.advantages = a.values;
    l.trainer.step(all, iteration, 3e-3, control);
  }
  const auto after = mean();
  if (after > before - 20) std::fprintf(stderr, "mean pixel %g before, %g after\n", before, after);
  CHECK(after < before - 20);
}

DRM_TEST_MAIN
