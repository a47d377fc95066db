#include "flow/scheduler.h"

#include <ATen/ATen.h>

#include "common/failure.h"
#include "tensor_io/config_reader.h"

namespace drm {
SchedulerConfig read_scheduler_config(const std::string& path) {
  if (path.empty()) return {};
  std::shared_ptr<Json> json;
  const auto r = ConfigReader::read(path, json);
  r.expect("_class_name", "FlowMatchEulerDiscreteScheduler");
  for (const char* key : {"use_dynamic_shifting", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
                          "invert_sigmas", "stochastic_sampling"})
    r.expect_flag(key, false);
  const auto* terminal = json->find("shift_terminal");
  if (terminal && !terminal->is_null())
    throw Failure(Code::BadConfig, "[config] shift_terminal in " + path +
                                       ": expected null, found a value; SD3 models do not use it, remove it");
  SchedulerConfig c;
  c.num_train_timesteps = r.integer("num_train_timesteps", 1000);
  c.shift = r.number("shift", 1.0);
  if (c.num_train_timesteps < 1 || c.num_train_timesteps > 1000000)
    throw Failure(Code::BadConfig, "[config] num_train_timesteps in " + path + ": expected 1 to 1000000, found " +
                                       std::to_string(c.num_train_timesteps));
  if (!(c.shift > 0))
    throw Failure(Code::BadConfig,
                  "[config] shift in " + path + ": expected a number above 0, found " + std::to_string(c.shift));
  return c;
}

Schedule training_schedule(const SchedulerConfig& c) {
  // fp32 throughout, as the reference's table is; sampling reads its last entry.
  Schedule s;
  const auto n = c.num_train_timesteps;
  for (int64_t i = n; i >= 1; --i) {
    const float sigma = shifted(static_cast<float>(i) / static_cast<float>(n), static_cast<float>(c.shift));
    s.sigmas.push_back(sigma);
    s.timesteps.push_back(sigma * static_cast<float>(n));
  }
  return s;
}

Schedule sampling_schedule(const SchedulerConfig& c, int64_t steps) {
  if (steps < 1)
    throw Failure(Code::BadRequest, "[schedule] steps: expected at least 1, found " + std::to_string(steps));
  const auto train = training_schedule(c);
  const double n = static_cast<double>(c.num_train_timesteps);
  const double first = static_cast<double>(train.sigmas.front()) * n,
               last = static_cast<double>(train.sigmas.back()) * n;
  Schedule s;
  for (int64_t i = 0; i < steps; ++i) {
    const double t =
        i + 1 == steps && steps > 1 ? last : first + (steps > 1 ? i * ((last - first) / (steps - 1)) : 0.0);
    const auto sigma = static_cast<float>(shifted(t / n, c.shift));
    s.sigmas.push_back(sigma);
    s.timesteps.push_back(sigma * static_cast<float>(n));
  }
  s.sigmas.push_back(0);
  return s;
}

at::Tensor euler_step(const at::Tensor& x, const at::Tensor& velocity, float sigma, float sigma_next) {
  return x.to(at::kFloat) + static_cast<double>(sigma_next - sigma) * velocity.to(at::kFloat);
}

at::Tensor add_noise(const at::Tensor& x_0, const at::Tensor& noise, const at::Tensor& sigma) {
  std::vector<int64_t> shape(x_0.dim(), 1);
  shape[0] = -1;
  const auto s = sigma.to(at::kFloat).view(shape);
  return s * noise.to(at::kFloat) + (1 - s) * x_0.to(at::kFloat);
}

at::Tensor guide(const at::Tensor& unconditional, const at::Tensor& conditional, double scale) {
  const auto u = unconditional.to(at::kFloat);
  return u + scale * (conditional.to(at::kFloat) - u);
}

}  // namespace drm
