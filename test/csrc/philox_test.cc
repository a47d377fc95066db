// Philox against the published vectors, and what its draws promise.
#include <ATen/ATen.h>

#include "check.h"
#include "random/draws.h"

using namespace drm;

namespace {

std::string words(const Draw& d, uint32_t index) {
  const auto p = philox(d, index);
  char text[40];
  std::snprintf(text, sizeof text, "%08x %08x %08x %08x", p.word[0], p.word[1], p.word[2], p.word[3]);
  return text;
}

}  // namespace

// Known answers of Random123 1.14 (kat_vectors, philox4x32 with 10 rounds); the counter is (index, sample, step,
// purpose and candidate), the key the seed.
TEST(known_answers) {
  CHECK_EQ(words({0, Purpose{0}, 0, 0, 0}, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8");
  CHECK_EQ(words({~uint64_t{0}, Purpose{0xff}, ~0u, ~0u, 0xffffff}, ~0u), "408f276d 41c83b0e a20bc7c6 6d5451fd");
  CHECK_EQ(words({0x299f31d0a4093822u, Purpose{0x03}, 0x13198a2e, 0x85a308d3, 0x707344}, 0x243f6a88),
           "d16cfe09 94fdcceb 5001e420 24126ea1");
}

TEST(normal_numbers_are_normal) {
  const auto x = draw_normal({7, Purpose::Noise, 3}, {0, 1, 2, 3}, {50000}, at::kCPU).to(at::kDouble);
  // 200,000 draws: the mean's deviation is 0.0022, the variance's 0.0032, the fourth moment's 0.022.
  CHECK(std::abs(x.mean().item<double>()) < 0.01);
  CHECK(std::abs(x.square().mean().item<double>() - 1) < 0.015);
  CHECK(std::abs(x.pow(4).mean().item<double>() - 3) < 0.1);
  CHECK(at::isfinite(x).all().item<bool>());
}

TEST(a_sample_has_its_own_numbers_whatever_is_beside_it) {
  const Draw d{11, Purpose::Noise, 5};
  const auto together = draw_normal(d, {4, 9, 1}, {3, 5}, at::kCPU);
  CHECK(at::equal(together.narrow(0, 1, 1), draw_normal(d, {9}, {3, 5}, at::kCPU)));
  CHECK(!at::equal(together[0], together[2]));
}

TEST(every_part_of_the_key_matters) {
  const auto first = [](Draw d) { return draw_normal(d, {1}, {8}, at::kCPU); };
  const Draw base{1, Purpose::Noise, 1, 0, 0};
  auto seed = base, purpose = base, step = base, candidate = base;
  seed.seed = 2;
  purpose.purpose = Purpose::Posterior;
  step.step = 2;
  candidate.candidate = 1;
  for (const auto& other : {seed, purpose, step, candidate}) CHECK(!at::equal(first(base), first(other)));
}

TEST(uniform_numbers_are_inside) {
  std::vector<int64_t> samples(20000);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int64_t>(i);
  const auto u = draw_uniform({3, Purpose::Timestep, 0}, samples, at::kCPU);
  CHECK(u.min().item<float>() > 0 && u.max().item<float>() < 1);
  CHECK(std::abs(u.mean().item<double>() - 0.5) < 0.01);
}

DRM_TEST_MAIN
