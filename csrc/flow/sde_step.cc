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

void require_noise(const SdeStep& step) {
  if (step.euler()) throw Failure(Code::Internal, "[sde step] a step without noise has no density");
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

Tensor step_mean(const Tensor& x, const Tensor& velocity, const SdeStep& step) {
  const auto from = x.to(at::kFloat), along = velocity.to(at::kFloat) * step.cv;
  return (step.cx == 1 ? from : from * step.cx) + along;
}

Tensor step_next(const Tensor& mean, const Tensor& noise, const SdeStep& step) {
  return mean + noise.to(at::kFloat) * step.noise_std;
}

Tensor element_log_prob(const Tensor& next, const Tensor& mean, const SdeStep& step) {
  require_noise(step);
  const auto distance = (next.to(at::kFloat) - mean) * (1 / step.noise_std);
  return distance.square() * -0.5 - (std::log(step.noise_std) + 0.5 * std::log(2 * std::numbers::pi));
}

Tensor log_prob(const Tensor& next, const Tensor& mean, const SdeStep& step) {
  return mean_of_rows(element_log_prob(next, mean, step));
}

Tensor cps_log_prob(const Tensor& next, const Tensor& mean) {
  return -mean_of_rows((next.to(at::kFloat) - mean).square());
}

Tensor step_divergence(const Tensor& mean, const Tensor& reference, const SdeStep& step, Divergence kind) {
  require_noise(step);
  const auto deviation = kind == Divergence::Flow ? step.std_dev : step.noise_std;
  return mean_of_rows((mean - reference).square()) * (1 / (2 * deviation * deviation));
}

}  // namespace drm
