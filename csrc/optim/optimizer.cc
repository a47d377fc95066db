#include "optim/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "common/failure.h"

namespace drm {

using at::Tensor;

void take_state(const std::map<std::string, Tensor>& state, const std::string& name, Tensor& to) {
  const auto it = state.find(name);
  if (it == state.end())
    throw Failure(
        Code::KeysMismatch,
        "[resume] " + name + ": expected in the checkpoint, not found; it was written by another configuration");
  if (it->second.sizes() != to.sizes())
    throw Failure(Code::BadShape,
                  "[resume] " + name +
                      ": the checkpoint holds another shape than the model; it was written by another configuration");
  const at::NoGradGuard no_grad;
  to.copy_(it->second);
}

Tensor clip_gradients(const NamedTensors& parameters, double max_norm) {
  std::vector<Tensor> gradients;
  for (const auto& [name, p] : parameters)
    if (p.grad().defined()) gradients.push_back(p.grad());
  if (gradients.empty()) return at::zeros({});
  const auto norm = at::stack(at::_foreach_norm(gradients, 2)).to(at::kFloat).norm();
  if (max_norm > 0) {
    // Computed and applied on the device: clipping costs no wait.
    const auto factor = (max_norm / (norm + 1e-6)).clamp_max(1.0);
    for (auto& g : gradients) g.mul_(factor.to(g.scalar_type()));
  }
  return norm;
}

AdamW::AdamW(NamedTensors parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const auto& [name, p] : parameters_) {
    master_.push_back(p.detach().scalar_type() == at::kFloat ? p.detach() : p.detach().to(at::kFloat));
    exp_avg_.push_back(at::zeros_like(master_.back()));
    exp_avg_sq_.push_back(at::zeros_like(master_.back()));
    steps_.push_back(at::zeros({}, master_.back().options()));
  }
}

void AdamW::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  std::vector<Tensor> weights, gradients, first, second, steps;
  std::vector<size_t> moved;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& gradient = parameters_[i].second.grad();
    if (!gradient.defined()) continue;
    moved.push_back(i);
    weights.push_back(master_[i]);
    gradients.push_back(gradient.to(at::kFloat));
    first.push_back(exp_avg_[i]);
    second.push_back(exp_avg_sq_[i]);
    steps.push_back(steps_[i]);
  }
  if (moved.empty()) return;
  for (auto& s : steps) s.add_(1);
  at::_fused_adamw_(weights, gradients, first, second, {}, steps, learning_rate, options_.beta1, options_.beta2,
                    options_.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
  for (const auto i : moved)
    if (parameters_[i].second.scalar_type() != at::kFloat) parameters_[i].second.detach().copy_(master_[i]);
}

void AdamW::zero_gradients() {
  for (auto& [name, p] : parameters_) p.mutable_grad() = Tensor();
}

NamedTensors AdamW::state() const {
  NamedTensors all;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& name = parameters_[i].first;
    all.emplace_back("exp_avg." + name, exp_avg_[i]);
    all.emplace_back("exp_avg_sq." + name, exp_avg_sq_[i]);
    all.emplace_back("step." + name, steps_[i]);
    if (parameters_[i].second.scalar_type() != at::kFloat) all.emplace_back("master." + name, master_[i]);
  }
  return all;
}

void AdamW::restore(const std::map<std::string, Tensor>& state) {
  for (auto& [name, tensor] : this->state()) {
    auto target = tensor;
    take_state(state, name, target);
  }
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i)
    if (parameters_[i].second.scalar_type() != at::kFloat) parameters_[i].second.detach().copy_(master_[i]);
}

Ema::Ema(const NamedTensors& parameters, const EmaOptions& options) : parameters_(parameters), options_(options) {
  for (const auto& [name, p] : parameters_) averages_.emplace_back(name, p.detach().to(at::kFloat).clone());
}

void Ema::update() {
  const at::NoGradGuard no_grad;
  const auto step = options_.first + updates_++;
  if ((step + 1) % options_.every != 0) return;
  const auto s = static_cast<double>(step);
  const double decay = options_.warm_up ? std::min((1 + s) / (10 + s), options_.decay) : options_.decay;
  for (size_t i = 0; i < parameters_.size(); ++i)
    averages_[i].second.lerp_(parameters_[i].second.detach().to(at::kFloat), 1 - decay);
}

void Ema::restore(const std::map<std::string, Tensor>& averages, int64_t updates) {
  for (auto& [name, average] : averages_) take_state(averages, name, average);
  updates_ = updates;
}

}  // namespace drm
