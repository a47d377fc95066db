#include "flow/sde_step.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "common/failure.h"

namespace drm {

using at::Tensor;

namespace {

struct Levels {
  double now, next;
};
Levels levels(const std::vector<float>& sigmas, int64_t index) {
  if (index < 0 || index + 1 >= static_cast<int64_t>(sigmas.size()))
    throw Failure(Code::Internal, "[sde step] step " + std::to_string(index) + " of a grid of " +
                                      std::to_string(sigmas.size()) + " levels");
  return {sigmas[static_cast<size_t>(index)], sigmas[static_cast<size_t>(index) + 1]};
}

/// One number of each step, to be broadcast over rows of `like`.
Tensor column(const Tensor& like, const std::vector<SdeStep>& steps, double SdeStep::*number) {
  const auto n = static_cast<int64_t>(steps.size());
  if (n != like.size(0))
    throw Failure(Code::Internal,
                  "[sde step] " + std::to_string(n) + " steps for " + std::to_string(like.size(0)) + " rows");
  auto values = at::empty({n}, at::kFloat);
  for (int64_t i = 0; i < n; ++i) values.data_ptr<float>()[i] = static_cast<float>(steps[i].*number);
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape[0] = n;
  return values.view(shape).to(like.device());
}

Tensor scaled(const Tensor& x, const std::vector<SdeStep>& steps, double SdeStep::*number) {
  return steps.size() == 1 ? x * steps[0].*number : x * column(x, steps, number);
}

void require_noise(const std::vector<SdeStep>& steps) {
  for (const auto& s : steps)
    if (s.euler()) throw Failure(Code::Internal, "[sde step] a step without noise has no density");
}

Tensor mean_of_rows(const Tensor& t) { return t.flatten(1).mean(1); }

}  // namespace

SdeStep sde_step(const std::vector<float>& sigmas, int64_t index, double a) {
  const auto [t, next] = levels(sigmas, index);
  if (!(a >= 0) || !std::isfinite(a))
    throw Failure(Code::BadRequest, "[sde step] noise level: expected 0 or more, found " + std::to_string(a));
  SdeStep s{static_cast<float>(t), static_cast<float>(next)};
  if (a == 0) {
    s.cx = 1;
    s.cv = static_cast<double>(s.sigma_next - s.sigma);  // as euler_step() has it
    return s;
  }
  const double dt = next - t, floor = t == 1 ? static_cast<double>(sigmas[1]) : t;
  s.std_dev = a * std::sqrt(t / (1 - floor));
  s.noise_std = s.std_dev * std::sqrt(-dt);
  const double drift = s.std_dev * s.std_dev / (2 * t);
  s.cx = 1 + drift * dt;
  s.cv = (1 + drift * (1 - t)) * dt;
  return s;
}

SdeStep cps_step(const std::vector<float>& sigmas, int64_t index, double level) {
  const auto [t, next] = levels(sigmas, index);
  if (!(level >= 0 && level <= 1))
    throw Failure(Code::BadRequest, "[sde step] CPS level: expected 0 to 1, found " + std::to_string(level));
  SdeStep s{static_cast<float>(t), static_cast<float>(next)};
  s.std_dev = s.noise_std = next * std::sin(level * std::numbers::pi / 2);
  // (1 - t') x_0 + sqrt(t'^2 - sd^2) x_1, with x_0 = x - t v and x_1 = x + (1 - t) v.
  const double kept = std::sqrt(std::max(0.0, next * next - s.noise_std * s.noise_std));
  s.cx = 1 - next + kept;
  s.cv = (1 - t) * kept - t * (1 - next);
  return s;
}

Tensor step_mean(const Tensor& x, const Tensor& velocity, const std::vector<SdeStep>& steps) {
  const auto from = x.to(at::kFloat), along = scaled(velocity.to(at::kFloat), steps, &SdeStep::cv);
  return (steps.size() == 1 && steps[0].cx == 1 ? from : scaled(from, steps, &SdeStep::cx)) + along;
}

Tensor step_next(const Tensor& mean, const Tensor& noise, const std::vector<SdeStep>& steps) {
  return mean + scaled(noise.to(at::kFloat), steps, &SdeStep::noise_std);
}

Tensor element_log_prob(const Tensor& next, const Tensor& mean, const std::vector<SdeStep>& steps) {
  require_noise(steps);
  auto inverse = steps;  // of the deviation, and the density's constant
  auto constant = steps;
  for (size_t i = 0; i < steps.size(); ++i) {
    inverse[i].noise_std = 1 / steps[i].noise_std;
    constant[i].noise_std = std::log(steps[i].noise_std) + 0.5 * std::log(2 * std::numbers::pi);
  }
  const auto distance = scaled(next.to(at::kFloat) - mean, inverse, &SdeStep::noise_std);
  const auto half = distance.square() * -0.5;
  return steps.size() == 1 ? half - constant[0].noise_std : half - column(half, constant, &SdeStep::noise_std);
}

Tensor log_prob(const Tensor& next, const Tensor& mean, const std::vector<SdeStep>& steps) {
  return mean_of_rows(element_log_prob(next, mean, steps));
}

Tensor cps_log_prob(const Tensor& next, const Tensor& mean) {
  return -mean_of_rows((next.to(at::kFloat) - mean).square());
}

Tensor step_divergence(const Tensor& mean, const Tensor& reference, const std::vector<SdeStep>& steps,
                       Divergence kind) {
  require_noise(steps);
  auto inverse = steps;
  for (auto& s : inverse) {
    const auto deviation = kind == Divergence::Flow ? s.std_dev : s.noise_std;
    s.noise_std = 1 / (2 * deviation * deviation);
  }
  const auto squares = mean_of_rows((mean - reference).square());
  return scaled(squares, inverse, &SdeStep::noise_std);
}

}  // namespace drm
