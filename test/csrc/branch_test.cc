// The SDE step, branching and selection: laws, and the fused forms against their definitions.
#include "flow/branch.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

#include "check.h"
#include "device.h"
#include "flow/scheduler.h"
#include "flow/select.h"
#include "random/draws.h"
#include "random/normal_row.h"

using namespace drm;
using at::Tensor;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

std::vector<float> grid(int64_t steps) { return sampling_schedule({1000, 3.0}, steps).sigmas; }

Tensor keys_of(int64_t batch, at::Device device = test::device()) {
  std::vector<uint64_t> seeds;
  std::vector<int64_t> samples;
  for (int64_t b = 0; b < batch; ++b) seeds.push_back(~uint64_t{0} - b), samples.push_back(3 * b);
  return branch_keys(seeds, samples, device);
}

double worst(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

}  // namespace

TEST(without_noise_a_step_is_eulers_bit_for_bit) {
  at::manual_seed(1);
  const auto x = test::randn({2, 4, 6, 5}), v = test::randn({2, 4, 6, 5});
  for (const int64_t n : {1, 10, 50})
    for (int64_t i = 0; i < n; ++i) {
      const auto sigmas = grid(n);
      CHECK(at::equal(step_mean(x, v, {sde_step(sigmas, i, 0)}), euler_step(x, v, sigmas[i], sigmas[i + 1])));
    }
}

TEST(the_first_step_has_its_closed_form_on_every_grid) {
  for (const int64_t n : {1, 2, 10, 28, 50})
    for (const double a : {0.3, 0.7, 1.0}) {
      const auto s = sde_step(grid(n), 0, a);
      CHECK(std::abs(s.noise_std - a) < 1e-12);
      CHECK(std::abs(s.cx - (1 - a * a / 2)) < 1e-12);
      CHECK(std::abs(s.cv - (static_cast<double>(grid(n)[1]) - 1)) < 1e-12);
    }
}

// Numbers of Eq. 6 at N = 10, a = 0.7: index, std_dev, noise_std, cx, cv.
TEST(coefficients_are_those_of_the_equation) {
  const double rows[][5] = {{0, 3.50567, 0.70000, 0.75500, -0.03987},
                            {4, 1.35920, 0.39179, 0.90289, -0.10345},
                            {8, 0.43441, 0.22536, 0.90867, -0.33505},
                            {9, 0.06644, 0.00628, 0.99779, -0.01112}};
  for (const auto& r : rows) {
    const auto s = sde_step(grid(10), static_cast<int64_t>(r[0]), 0.7);
    CHECK(std::abs(s.std_dev - r[1]) < 1e-5 && std::abs(s.noise_std - r[2]) < 1e-5);
    CHECK(std::abs(s.cx - r[3]) < 1e-5 && std::abs(s.cv - r[4]) < 1e-5);
  }
}

TEST(noise_levels_below_zero_are_refused) {
  EXPECT_FAILURE(BadRequest, ({"noise level", "0 or more", "-1"}), sde_step(grid(4), 0, -1));
  EXPECT_FAILURE(BadRequest, ({"CPS level", "0 to 1", "2"}), cps_step(grid(4), 0, 2));
  EXPECT_FAILURE(Internal, ({"no density"}), log_prob(at::zeros({1, 2}), at::zeros({1, 2}), {sde_step(grid(4), 0, 0)}));
}

TEST(gradients_flow_through_the_mean_and_not_through_the_sample) {
  at::manual_seed(2);
  const auto step = sde_step(grid(10), 4, 0.7);
  const auto x = test::randn({3, 2, 4}), next = test::randn({3, 2, 4});
  const auto v = test::randn({3, 2, 4}).requires_grad_();
  log_prob(next, step_mean(x, v, step), step).sum().backward();
  // d log p / d v = (x' - mean) cv / (noise_std^2 D).
  const auto mean = step_mean(x, v.detach(), step);
  const auto want = (next - mean) * (step.cv / (step.noise_std * step.noise_std * 8));
  CHECK(worst(v.grad(), want) < 1e-6);
}

TEST(a_row_of_normal_numbers_has_the_bits_of_its_blocks) {
  // So CPU vectors, and CUDA threads that use the same functions, draw one stream.
  const Draw d{5, Purpose::Branch, 2, 7, 3};
  std::vector<float> row(4 * 1000);
  normal_row(d, 17, 1000, row.data());
  for (uint32_t i = 0; i < 1000; ++i) {
    float block[4];
    normals(d, 17 + i, block);
    for (int j = 0; j < 4; ++j) CHECK(std::bit_cast<uint32_t>(block[j]) == std::bit_cast<uint32_t>(row[4 * i + j]));
  }
}

TEST(normal_numbers_are_box_and_mullers) {
  // Against the libraries in double: measured 5.7e-7 at most.
  for (uint32_t i = 0; i < 200000; ++i) {
    const auto words = philox({9, Purpose::Noise}, i);
    float first, second;
    normals_from(words.word[0], words.word[1], &first, &second);
    const double radius = std::sqrt(-2 * std::log(static_cast<double>(uniform_from(words.word[0])))),
                 angle = 2 * M_PI * static_cast<double>(uniform_from(words.word[1]));
    CHECK(std::abs(first - radius * std::cos(angle)) < 1e-6 && std::abs(second - radius * std::sin(angle)) < 1e-6);
  }
  CHECK(uniform_from(~0u) < 1 && uniform_from(0) > 0);
}

TEST(fused_candidates_are_the_composites_bits) {
  at::manual_seed(4);
  // Runs of 1024: within one, several, and lengths that vectors and blocks do not divide.
  for (const auto& shape :
       std::vector<std::vector<int64_t>>{{1, 4, 4, 4}, {3, 4, 8, 8}, {2, 16, 16, 16}, {2, 3, 7, 49}})
    for (const int64_t k : {1, 2, 6})
      for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16})
        for (const bool guided : {true, false}) {
          const auto x = test::randn(shape), u = test::randn(shape).to(dtype), c = test::randn(shape).to(dtype);
          const GuidedVelocity v = guided ? GuidedVelocity{u, c, 4.5} : GuidedVelocity{{}, c, 1};
          for (const int64_t i : {0, 5, 9}) {
            const auto step = sde_step(grid(10), i, 0.7);
            const auto keys = keys_of(shape[0]);
            const auto fused = branch(x, v, step, keys, i, k), defined = composite::branch(x, v, step, keys, i, k);
            CHECK(at::equal(fused, defined));
          }
        }
}

TEST(candidates_do_not_depend_on_batch_threads_or_their_number) {
  at::manual_seed(5);
  const auto x = test::randn({4, 8, 32, 33}), u = test::randn(x.sizes()), c = test::randn(x.sizes());
  const auto step = sde_step(grid(10), 3, 0.7);
  const auto keys = keys_of(4);
  const auto threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto alone = branch(x, {u, c, 3}, step, keys, 3, 6);
  at::set_num_threads(4);
  const auto together = branch(x, {u, c, 3}, step, keys, 3, 6);
  at::set_num_threads(threads);
  CHECK(at::equal(alone, together));
  const auto part = [](const Tensor& t) { return t.narrow(0, 2, 1); };
  const auto third = branch(part(x), {part(u), part(c), 3}, step, part(keys), 3, 2);
  CHECK(at::equal(third[0], alone[2].narrow(0, 0, 2)));
}

TEST(wanted_gradients_and_other_layouts_take_the_composite_form) {
  at::manual_seed(6);
  const auto x = test::randn({2, 4, 6, 8}), c = test::randn({2, 4, 8, 6}).transpose(2, 3);
  const auto step = sde_step(grid(10), 3, 0.7);
  CHECK(at::equal(branch(x, {{}, c, 1}, step, keys_of(2), 3, 2),
                  branch(x, {{}, c.contiguous(), 1}, step, keys_of(2), 3, 2)));
  const auto leaf = c.contiguous().requires_grad_();
  branch(x, {{}, leaf, 1}, step, keys_of(2), 3, 2).sum().backward();
  CHECK(worst(leaf.grad(), at::full_like(leaf, 2 * step.cv)) < 1e-5);
  EXPECT_FAILURE(BadRequest, ({"candidates", "found 0"}), branch(x, {{}, c, 1}, step, keys_of(2), 3, 0));
  EXPECT_FAILURE(Internal, ({"without noise"}), branch(x, {{}, c, 1}, sde_step(grid(10), 3, 0), keys_of(2), 3, 2));
}

TEST(the_best_goes_on_and_nan_never) {
  at::manual_seed(7);
  const auto rewards = at::tensor({1.f,  3.f,  3.f, 2.f,  kNan, -kInf, kNan,  -kInf, kNan,  kNan,
                                   kNan, kNan, 0.f, kInf, kInf, 5.f,   -kInf, -kInf, -kInf, kNan})
                           .view({5, 4})
                           .to(test::device());
  const auto candidates = test::randn({5, 4, 3, 5, 5});
  auto unscored = at::full({5}, -1, rewards.options().dtype(at::kInt));
  const auto best = select(candidates, rewards, {}, 6, unscored);
  CHECK(at::equal(best.index.cpu(), at::tensor({1, 1, 0, 1, 0}, at::kLong)));
  for (int64_t b = 0; b < 5; ++b) CHECK(at::equal(best.latents[b], candidates[b][best.index[b].item<int64_t>()]));
  CHECK(at::equal(unscored.cpu(), at::tensor({-1, -1, 6, -1, -1}, at::kInt)));
  select(candidates, rewards, {}, 8, unscored);
  CHECK_EQ(unscored[2].item<int>(), 6);  // the first step stays
  // Soft, by 0.6: half, half; the second of two; uniform over four; and so on.
  const Choice soft{1, at::full({5}, 0.6f, rewards.options())};
  CHECK(at::equal(select(candidates, rewards, soft, 0, unscored).index.cpu(), at::tensor({2, 3, 2, 2, 1}, at::kLong)));
}

TEST(fused_selection_is_its_definition) {
  at::manual_seed(8);
  for (const int64_t k : {1, 2, 6, 33}) {
    auto rewards = test::randn({200, k}).mul(3).round();  // many ties
    rewards.masked_fill_(test::rand({200, k}).lt(0.2), kNan);
    rewards.masked_fill_(test::rand({200, k}).lt(0.05), kInf);
    rewards.masked_fill_(test::rand({200, k}).lt(0.2), -kInf);
    const auto candidates = test::randn({200, k, 2, 3, 3}), u = test::rand({200});
    for (const double temperature : {0.0, 0.25, 1.0}) {
      auto unscored = at::full({200}, -1, rewards.options().dtype(at::kInt)), defined_unscored = unscored.clone();
      const auto got = select(candidates, rewards, {temperature, u}, 4, unscored),
                 want = composite::select(candidates, rewards, {temperature, u}, 4, defined_unscored);
      CHECK(at::equal(got.index, want.index) && at::equal(got.latents, want.latents));
      CHECK(at::equal(unscored, defined_unscored));
    }
  }
}

TEST(on_a_gpu_candidates_are_the_same_bits) {
  if (!at::hasCUDA()) {
    std::fprintf(stderr, "SKIPPED on_a_gpu_candidates_are_the_same_bits: no GPU here; the CPU twin stands in\n");
    return;
  }
  at::manual_seed(9);
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const auto x = at::randn({3, 16, 32, 33}), u = at::randn(x.sizes()).to(dtype), c = at::randn(x.sizes()).to(dtype);
    const auto step = sde_step(grid(50), 20, 0.7);
    const auto here = branch(x, {u, c, 4.5}, step, keys_of(3, at::kCPU), 20, 6);
    const auto there = branch(x.cuda(), {u.cuda(), c.cuda(), 4.5}, step, keys_of(3, at::kCUDA), 20, 6);
    CHECK(at::equal(here, there.cpu()));
  }
}

DRM_TEST_MAIN
