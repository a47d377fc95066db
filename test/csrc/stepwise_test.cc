// Step-wise sampling: laws that hold for any policy and any reward.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

#include "check.h"
#include "device.h"
#include "flow/sampler.h"
#include "models/sd3/sd3.h"

using namespace drm;

namespace {

Schedule grid(int64_t steps) { return sampling_schedule({1000, 3.0}, steps); }

/// For Gaussian data of deviation q the exact velocity is linear (rl.md, section 2.1).
double gaussian_slope(double t, double q) { return (t - (1 - t) * q * q) / ((1 - t) * (1 - t) * q * q + t * t); }
GuidedPolicy gaussian_policy(const Schedule& schedule, double q) {
  return [&schedule, q](const Tensor& x, int64_t i) -> GuidedVelocity {
    const auto v = x * gaussian_slope(schedule.sigmas[i], q);
    return {{}, v, 1};
  };
}

/// A score that each row alone decides, and that tells candidates apart.
Tensor mean_of_row(const Tensor& candidates, double, const std::vector<int64_t>&) {
  return candidates.flatten(1).mean(1);
}
Tensor no_preference(const Tensor& candidates, double, const std::vector<int64_t>&) {
  return at::zeros({candidates.size(0)}, candidates.options());
}

Stepwise stepwise(int64_t k, LatentScorer score, int64_t images) {
  Stepwise s;
  s.k = k;
  s.score = std::move(score);
  for (int64_t i = 0; i < images; ++i) s.seeds.push_back(100 + i);
  return s;
}

Sd3 small_transformer() {
  const auto folder = std::string(DRM_GOLDEN) + "/mmdit/";
  Sd3 m(make_mmdit(read_mmdit_config(folder + "config.json")));
  load_velocity_model(m, Weights::open({folder + "diffusion_pytorch_model.safetensors"}, velocity_keys), at::kFloat,
                      test::device());
  return m;
}

double deviation(const Tensor& x) { return x.to(at::kDouble).square().mean().sqrt().item<double>(); }

}  // namespace

TEST(gaussian_data_come_out_with_the_variance_that_theory_says) {
  struct Row {
    int64_t steps;
    double a, q, table;  // final deviation over q, all steps with noise
  };
  for (const auto& [n, a, q, table] : {Row{10, 0.7, 1, 0.8854}, Row{10, 0.7, 0.5, 0.8420}, Row{50, 0.7, 1, 0.9821},
                                       Row{50, 0.7, 0.5, 0.9675}, Row{50, 0, 1, 0.9641}, Row{50, 0, 0.5, 0.9431}}) {
    const auto schedule = grid(n);
    // V' = (cx + cv g)^2 V + noise_std^2; the sampler's last step is Euler's.
    double all = 1, ours = 1;
    for (int64_t i = 0; i < n; ++i) {
      const auto step = sde_step(schedule.sigmas, i, a), last = sde_step(schedule.sigmas, i, i + 1 < n ? a : 0);
      const auto g = gaussian_slope(schedule.sigmas[i], q);
      const auto next = [&](const SdeStep& s, double v) {
        return (s.cx + s.cv * g) * (s.cx + s.cv * g) * v + s.noise_std * s.noise_std;
      };
      all = next(step, all);
      ours = next(last, ours);
    }
    CHECK(std::abs(std::sqrt(all) / q - table) < 6e-5);
    at::manual_seed(1);
    const auto x = test::randn({8, 4, 64, 64});          // 131,072 numbers: the deviation's own deviation is 0.2 %
    auto s = stepwise(a > 0 ? 2 : 1, no_preference, 8);  // ties: the first candidate goes on, an unbiased draw
    s.noise_level = a;
    const auto out = denoise(gaussian_policy(schedule, q), x, schedule, s, Control());
    CHECK(std::abs(deviation(out) / std::sqrt(ours) - 1) < 0.01);
  }
}

TEST(one_candidate_is_plain_sampling_bit_for_bit_and_scores_nothing) {
  const at::NoGradGuard no_grad;
  at::manual_seed(2);
  const auto m = small_transformer();
  const auto embed = [&] {
    return m.embed_text({test::randn({2, 5, m.info().sequence_width}), test::randn({2, m.info().pooled_width})});
  };
  const Conditioning text{embed(), embed()};
  const auto x = test::randn({2, 16, 6, 6});
  const auto schedule = grid(5);
  const Guidance guidance{4.5};
  const auto plain = denoise(m, x, text, schedule, guidance, Control());
  auto s = stepwise(
      1, [](const Tensor&, double, const std::vector<int64_t>&) -> Tensor { throw 0; }, 2);
  const auto policy = network_policy(m, text, schedule, guidance);
  CHECK(at::equal(plain, denoise(policy, x, schedule, s, Control())));
  // Written out: Euler along the guided velocity.
  auto by_hand = x;
  for (int64_t i = 0; i < 5; ++i) {
    const auto v = policy(by_hand, i);
    by_hand =
        euler_step(by_hand, guide(v.unconditional, v.conditional, 4.5), schedule.sigmas[i], schedule.sigmas[i + 1]);
  }
  CHECK(at::equal(plain, by_hand));
}

TEST(candidates_are_scored_at_their_own_level_and_the_best_goes_on) {
  at::manual_seed(3);
  const auto schedule = grid(6);
  std::vector<double> levels;
  auto s = stepwise(
      4,
      [&](const Tensor& c, double sigma, const std::vector<int64_t>& image_of) {
        levels.push_back(sigma);
        CHECK(image_of == (std::vector<int64_t>{0, 0, 0, 0, 1, 1, 1, 1}));
        return mean_of_row(c, sigma, image_of);
      },
      2);
  std::vector<Tensor> after;
  int64_t looked = 0;
  s.observer = [&](const BranchView& view) {
    CHECK_EQ(view.index, looked++);
    CHECK_EQ(view.sigma, schedule.sigmas[view.index + 1]);
    CHECK(at::equal(view.chosen, view.scores.argmax(1)));
    for (int64_t b = 0; b < 2; ++b) after.push_back(view.candidates[b][view.chosen[b].item<int64_t>()]);
  };
  std::vector<Tensor> seen;
  denoise(gaussian_policy(schedule, 1), test::randn({2, 3, 4, 4}), schedule, s, Control(),
          [&](const StepView& view) { seen.push_back(view.latents); });
  CHECK_EQ(levels.size(), size_t{5});  // the last step is Euler's
  for (size_t i = 0; i < levels.size(); ++i) CHECK_EQ(levels[i], static_cast<double>(schedule.sigmas[i + 1]));
  for (size_t i = 0; i < after.size(); ++i) CHECK(at::equal(after[i], seen[i / 2][static_cast<int64_t>(i % 2)]));
}

TEST(a_better_reward_is_reached_with_more_candidates) {
  at::manual_seed(4);
  const auto schedule = grid(10);
  const auto x = test::randn({64, 1, 4, 4});
  double before = -1;
  for (const int64_t k : {1, 2, 6}) {
    const auto out = denoise(gaussian_policy(schedule, 1), x, schedule, stepwise(k, mean_of_row, 64), Control()).mean();
    CHECK(out.item<double>() > before + 0.2 * (k > 1));
    before = out.item<double>();
  }
}

TEST(results_do_not_depend_on_batches_or_passes) {
  at::manual_seed(5);
  const auto schedule = grid(6);
  const auto x = test::randn({4, 3, 6, 6});
  for (const double temperature : {0.0, 0.05}) {
    auto s = stepwise(5, mean_of_row, 4);
    s.temperature = temperature;
    const auto together = denoise(gaussian_policy(schedule, 1), x, schedule, s, Control());
    for (const int64_t rows : {1, 3, 20, 1000}) {
      s.rows_per_pass = rows;
      CHECK(at::equal(together, denoise(gaussian_policy(schedule, 1), x, schedule, s, Control())));
    }
    for (int64_t b = 0; b < 4; ++b) {
      auto alone = s;
      alone.seeds = {s.seeds[static_cast<size_t>(b)]};
      CHECK(at::equal(together[b],
                      denoise(gaussian_policy(schedule, 1), x.narrow(0, b, 1), schedule, alone, Control())[0]));
    }
    // Scored backwards, and put in order again.
    s.score = [](const Tensor& c, double sigma, const std::vector<int64_t>& of) {
      return mean_of_row(c.flip(0), sigma, of).flip(0);
    };
    CHECK(at::equal(together, denoise(gaussian_policy(schedule, 1), x, schedule, s, Control())));
  }
}

TEST(a_path_with_noise_and_no_choice_is_that_of_the_first_candidate) {
  at::manual_seed(5);
  const auto schedule = grid(10);
  const auto x = test::randn({2, 3, 4, 4});
  auto noisy = stepwise(1, {}, 2);
  noisy.sde = true;
  noisy.score_from = 0.2;
  auto chosen = stepwise(2, no_preference, 2);  // ties: the first candidate goes on
  chosen.score_from = 0.2;
  const auto out = denoise(gaussian_policy(schedule, 1), x, schedule, noisy, Control());
  CHECK(at::equal(out, denoise(gaussian_policy(schedule, 1), x, schedule, chosen, Control())));
  CHECK(!at::equal(out, denoise(gaussian_policy(schedule, 1), x, schedule, {}, Control())));
}

TEST(outside_the_window_steps_are_eulers) {
  at::manual_seed(6);
  const auto schedule = grid(10);
  const auto x = test::randn({1, 3, 4, 4});
  const auto scored = [&](double from, double until) {
    std::vector<int64_t> at;
    auto s = stepwise(3, mean_of_row, 1);
    s.score_from = from;
    s.score_until = until;
    s.observer = [&](const BranchView& view) { at.push_back(view.index); };
    const auto out = denoise(gaussian_policy(schedule, 1), x, schedule, s, Control());
    if (at.empty()) CHECK(at::equal(out, denoise(gaussian_policy(schedule, 1), x, schedule, {}, Control())));
    return at;
  };
  CHECK(scored(0.3, 0.6) == (std::vector<int64_t>{3, 4, 5}));
  CHECK(scored(0.75, 1) == (std::vector<int64_t>{8}));
  CHECK(scored(0.5, 0.5).empty());
  CHECK(scored(0.9, 1).empty());
}

TEST(rewards_of_nan_alone_are_an_error_that_names_the_step) {
  at::manual_seed(7);
  const auto schedule = grid(8);
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  int64_t calls = 0;
  auto s = stepwise(
      3,
      [&](const Tensor& c, double, const std::vector<int64_t>&) {
        auto scores = test::randn({c.size(0)});
        if (++calls >= 3) scores.narrow(0, 3, 3).fill_(nan);  // the second image, from the third step on
        return scores;
      },
      2);
  EXPECT_FAILURE(NotFinite, ({"step 3 of 8", "score", "image 1", "--score-from"}),
                 denoise(gaussian_policy(schedule, 1), test::randn({2, 1, 4, 4}), schedule, s, Control()));
  CHECK_EQ(calls, test::device().is_cpu() ? 3 : 7);  // a GPU is asked at the end alone
  // Some NaN: those candidates do not go on.
  s.score = [&](const Tensor& c, double, const std::vector<int64_t>&) {
    auto scores = at::zeros({c.size(0)}, c.options());
    scores[0] = nan;
    return scores;
  };
  s.observer = [](const BranchView& view) { CHECK(at::equal(view.chosen.cpu(), at::tensor({1, 0}, at::kLong))); };
  denoise(gaussian_policy(schedule, 1), test::randn({2, 1, 4, 4}), schedule, s, Control());
}

TEST(what_cannot_be_asked_is_refused) {
  const auto schedule = grid(3);
  const auto run = [&](const Stepwise& s) {
    denoise(gaussian_policy(schedule, 1), test::randn({1, 1, 2, 2}), schedule, s, Control());
  };
  const auto with = [](auto change) {
    auto s = stepwise(2, no_preference, 1);
    change(s);
    return s;
  };
  EXPECT_FAILURE(BadRequest, ({"k:", "found 0"}), run(with([](auto& s) { s.k = 0; })));
  EXPECT_FAILURE(BadRequest, ({"k:", "1 to 1024", "5000"}), run(with([](auto& s) { s.k = 5000; })));
  EXPECT_FAILURE(BadRequest, ({"noise level", "above 0"}), run(with([](auto& s) { s.noise_level = 0; })));
  EXPECT_FAILURE(BadRequest, ({"from <= until"}), run(with([](auto& s) { s.score_from = 2; })));
  EXPECT_FAILURE(BadRequest, ({"temperature"}), run(with([](auto& s) { s.temperature = -1; })));
  EXPECT_FAILURE(BadRequest, ({"without a reward"}), run(with([](auto& s) { s.score = {}; })));
}

DRM_TEST_MAIN
