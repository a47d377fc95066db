// The Thurstone likelihood against the C library's error function, and far outside of what that can tell.
#include "reward/thurstone.h"

#include <ATen/ATen.h>

#include <cmath>

#include "check.h"
#include "device.h"

using namespace drm;

namespace {

/// With a deviation of 1 the margin is what Phi is taken of.
constexpr ScoreVariance kUnit{0.5, 0};

struct Valued {
  double loss, slope;  // by the chosen one's score
};

Valued at_margin(double margin, double sigma, const ScoreVariance& variance) {
  const auto chosen = at::full({1}, margin + 3, at::TensorOptions(test::device())).requires_grad_(true);
  const auto rejected = at::full({1}, 3.0, at::TensorOptions(test::device()));
  const auto loss = thurstone_loss(chosen, rejected, at::full_like(rejected, sigma), variance);
  loss.sum().backward();
  return {loss.item<double>(), chosen.grad().item<double>()};
}

double log_phi(double x) { return std::log(std::erfc(-x / std::sqrt(2.0)) / 2); }

bool near(double found, double expected) { return std::abs(found - expected) <= 1e-6 + 1e-5 * std::abs(expected); }

}  // namespace

TEST(values_are_those_of_the_normal_distribution) {
  for (double x = -7; x <= 5; x += 0.125) {
    const auto [loss, slope] = at_margin(x, 0.3, kUnit);
    CHECK(near(loss, -log_phi(x)));
    const auto density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    CHECK(near(slope, -density / std::exp(log_phi(x))));
  }
  CHECK(near(at_margin(0, 0.9, {}).loss, std::log(2.0)));
}

TEST(the_variance_grows_with_the_noise) {
  for (const double sigma : {0.0, 0.25, 1.0}) {
    const auto deviation = std::sqrt(2 * (0.05 + 2 * sigma * sigma));
    CHECK(near(at_margin(0.7, sigma, {}).loss, -log_phi(0.7 / deviation)));
    CHECK(near(at_margin(-0.4, sigma, {}).loss, -log_phi(-0.4 / deviation)));
  }
  CHECK(at_margin(0.7, 0, {}).loss < at_margin(0.7, 1, {}).loss);
}

TEST(no_margin_is_too_large) {
  for (const double margin : {100.0, 1e4, 1e8}) {
    CHECK_EQ(at_margin(margin, 0, {}).loss, 0.0);
    CHECK_EQ(at_margin(margin, 0, {}).slope, 0.0);
    // Far left -log Phi(x) is x^2 / 2 + log(-x sqrt(2 pi)), but for terms of 1 / x^2, and its slope is x + 1 / x.
    const auto x = -margin / std::sqrt(0.1);
    const auto [loss, slope] = at_margin(-margin, 0, {});
    CHECK(near(loss, x * x / 2 + std::log(-x * std::sqrt(2 * M_PI))));
    CHECK(near(slope, (x + 1 / x) / std::sqrt(0.1)));
  }
}

DRM_TEST_MAIN
