#include "optim/loss_scale.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

#include "common/failure.h"

namespace drm {
namespace {

constexpr double kGrowth = 2, kBackoff = 0.5;
constexpr int64_t kGrowthInterval = 2000;

}  // namespace

void LossScale::unscale(const NamedTensors& parameters) const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto& [name, p] : parameters)
    if (p.grad().defined()) gradients.push_back(p.grad());
  if (!gradients.empty()) at::_foreach_mul_(gradients, 1 / value_);
}

void LossScale::update(bool finite) {
  if (!finite) {
    value_ *= kBackoff;
    good_steps_ = 0;
    ++overflows_;
  } else if (++good_steps_ == kGrowthInterval) {
    good_steps_ = 0;
    if (value_ * kGrowth <= std::numeric_limits<float>::max()) value_ *= kGrowth;
  }
}

NamedTensors LossScale::state() const {
  return {{"loss_scale.value", at::scalar_tensor(value_, at::kDouble)},
          {"loss_scale.good_steps", at::scalar_tensor(good_steps_, at::kLong)},
          {"loss_scale.overflows", at::scalar_tensor(overflows_, at::kLong)}};
}

void LossScale::restore(const std::map<std::string, at::Tensor>& state) {
  auto own = this->state();
  for (auto& [name, value] : own) take_state(state, name, value);
  const auto value = own[0].second.item<double>();
  const auto good_steps = own[1].second.item<int64_t>(), overflows = own[2].second.item<int64_t>();
  if (!(value >= 1 && value <= std::numeric_limits<float>::max()) || good_steps < 0 || good_steps >= kGrowthInterval ||
      overflows < 0)
    throw Failure(Code::BadFile, "[resume] loss_scale: expected a scale from 1 after 0 to " +
                                     std::to_string(kGrowthInterval - 1) + " good steps, found " +
                                     std::to_string(value) + " after " + std::to_string(good_steps) +
                                     "; the checkpoint is damaged, resume from an earlier one");
  value_ = value;
  good_steps_ = good_steps;
  overflows_ = overflows;
}

}  // namespace drm
