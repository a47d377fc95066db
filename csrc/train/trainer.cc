#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "nn/autocast.h"
#include "runtime/device.h"
#include "tensor_io/safetensors.h"

namespace drm {
namespace {

using at::Tensor;

/// Sums of scalars that live on the device, weighted by samples, read back all at once.
class Means {
 public:
  void add(const std::vector<Metric>& metrics, int64_t samples) {
    for (const auto& m : metrics) {
      const auto value = m.value.detach().to(at::kDouble).reshape({});
      const auto weight = m.weight.defined() ? m.weight.to(at::kDouble).reshape({})
                                             : at::full({}, static_cast<double>(samples), value.options());
      const auto part = at::stack({value * weight, weight});
      const auto found = std::find(names_.begin(), names_.end(), m.name);
      if (found == names_.end()) {
        names_.push_back(m.name);
        sums_.push_back(part);
      } else {
        auto& sum = sums_[static_cast<size_t>(found - names_.begin())];
        sum = sum + part;
      }
    }
  }
  Metrics read() const {
    Metrics out;
    if (sums_.empty()) return out;
    const auto all = at::stack(sums_).to(at::kCPU);
    const auto* p = all.const_data_ptr<double>();
    for (size_t i = 0; i < names_.size(); ++i)
      if (const auto weight = p[2 * i + 1]; weight != 0) out.push_back({names_[i], p[2 * i] / weight, weight});
    return out;
  }

 private:
  std::vector<std::string> names_;
  std::vector<Tensor> sums_;  // (2) each: weighted sum, weight
};

NamedTensors prefixed(const char* prefix, const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, t] : tensors) out.emplace_back(prefix + name, t);
  return out;
}

}  // namespace

Trainer::Trainer(std::unique_ptr<Objective> objective, const TrainerOptions& options,
                 std::shared_ptr<Collectives> group, const Control& control)
    : options_(options),
      dtype_(objective->autocasts() ? parse_dtype(options.dtype) : at::kFloat),
      objective_(std::move(objective)),
      parameters_(objective_->parameters()),
      parallel_(group ? std::make_unique<DataParallel>(std::move(group), parameters_, options.zero, control) : nullptr),
      optimizer_(parallel_ ? parallel_->stepped() : parameters_,
                 {0, options.beta1, options.beta2, options.eps, options.weight_decay}) {
  // An average that moves rarely is flow_grpo's, which counts steps from 1.
  const EmaOptions ema{options.ema_decay, true, options.ema_every, options.ema_every > 1 ? 1 : 0};
  if (options.ema_decay > 0) averages_ = std::make_unique<Ema>(parameters_, ema);
  if (parse_dtype(options.dtype) == at::kHalf) loss_scale_ = std::make_unique<LossScale>();
}

int64_t Trainer::trained_parameters() const {
  int64_t n = 0;
  for (const auto& [name, t] : parameters_) n += t.numel();
  return n;
}

Metrics Trainer::step(const std::vector<TrainBatch>& batches, int64_t index, double learning_rate, Control& control) {
  const std::lock_guard<std::mutex> one_at_a_time(mutex_);
  int64_t samples = 0;
  for (const auto& b : batches) samples += b.size();
  const auto here = samples;
  std::function<int64_t()> count = [here] { return here; };
  if (parallel_) count = parallel_->count(here, control);
  for (auto& [name, p] : parameters_) p.mutable_grad() = Tensor();
  const double scale = loss_scale_ ? loss_scale_->value() : 1;
  Means means;
  int64_t seen = 0;
  for (const auto& batch : batches) {
    control.check();
    if (batch.size() == 0) continue;
    Loss loss;
    {
      const Autocast autocast(parameters_.front().second.device().type(), dtype_);
      loss = objective_->loss(batch, {options_.seed, index, false});
    }
    if (seen == 0) samples = count();
    seen += batch.size();
    if (parallel_ && seen == here) parallel_->last_pass();
    const double share = static_cast<double>(batch.size()) / static_cast<double>(samples);
    (loss.total * (share * scale)).backward();
    loss.metrics.push_back({"loss", loss.total});
    means.add(loss.metrics, batch.size());
  }
  if (seen == 0) samples = count();
  if (samples == 0)
    throw Failure(Code::BadRequest, "[train] step " + std::to_string(index) + ": expected samples, found none");
  if (parallel_) parallel_->reduce(control);
  if (loss_scale_) loss_scale_->unscale(parameters_);
  const auto norm = clip_gradients(parameters_, options_.max_gradient_norm);
  if (!parallel_ || parallel_->first()) means.add({{"grad_norm", norm}}, 1);  // it is the same for all
  // The one wait for the device in a step: a loss that is not finite must not reach the weights.
  auto metrics = means.read();
  if (parallel_) metrics = parallel_->pooled(metrics, control);
  const auto broken = std::find_if(metrics.begin(), metrics.end(), [](const MetricValue& m) {
    return (m.name == "loss" || m.name == "grad_norm") && !std::isfinite(m.value);
  });
  const bool finite = broken == metrics.end();
  if (!finite && (!loss_scale_ || loss_scale_->smallest()))
    throw Failure(
        Code::NotFinite,
        "[train] step " + std::to_string(index) + ": expected a finite " + broken->name + ", found " +
            std::to_string(broken->value) +
            (loss_scale_ ? " at the smallest loss scale, 1, after " + std::to_string(loss_scale_->overflows()) +
                               " skipped steps: fp16's range is too small here"
                         : "") +
            "; the weights are as before this step: lower the learning rate, lengthen the warm-up, or use "
            "--dtype " +
            (loss_scale_ ? "bf16 or fp32" : "fp32"),
        {{"step", std::to_string(index)}, {"name", broken->name}, {"found", std::to_string(broken->value)}});
  if (loss_scale_) {
    loss_scale_->update(finite);
    std::erase_if(metrics, [](const MetricValue& m) { return !std::isfinite(m.value); });
    metrics.push_back({"loss_scale", scale, 1});
    metrics.push_back({"overflows", static_cast<double>(loss_scale_->overflows()), 1});
    if (!finite) return metrics;
  }
  optimizer_.step(learning_rate);
  if (parallel_) parallel_->stepped_all(control);
  objective_->after_step();
  if (averages_) averages_->update();
  return metrics;
}

Metrics Trainer::evaluate(const TrainBatch& batch) {
  return with_averages([&] {
    const at::NoGradGuard no_grad;
    const Autocast autocast(parameters_.front().second.device().type(), dtype_);
    Means means;
    means.add(objective_->evaluate(batch, {options_.seed, 0, true}), batch.size());
    return means.read();
  });
}

void Trainer::save(const std::string& path, const Control& control) {
  const std::lock_guard<std::mutex> one_at_a_time(mutex_);
  auto state = optimizer_.state();
  if (parallel_) state = parallel_->optimizer_state(state, control);
  if (parallel_ && !parallel_->first()) return;
  auto all = prefixed("parameter.", parameters_);
  for (const auto& t : state) all.push_back(t);
  if (averages_)
    for (const auto& t : prefixed("average.", averages_->averages())) all.push_back(t);
  if (loss_scale_)
    for (const auto& t : loss_scale_->state()) all.push_back(t);
  save_safetensors(path, all, {{"updates", std::to_string(averages_ ? averages_->updates() : 0)}});
}

void Trainer::restore(const std::string& path, const Control& control) {
  const std::lock_guard<std::mutex> one_at_a_time(mutex_);
  std::map<std::string, Tensor> all;
  if (!parallel_ || parallel_->first()) {
    const auto file = SafetensorsFile::open(path);
    for (const auto& [name, info] : file->tensors()) all[name] = file->load(name);
    int64_t updates = 0;
    if (const auto it = file->metadata().find("updates"); it != file->metadata().end()) {
      const auto& text = it->second;
      if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), updates);
          error != std::errc() || end != text.data() + text.size() || updates < 0)
        throw Failure(Code::BadFile,
                      "[resume] updates in " + path + ": expected a whole number, found " + text.substr(0, 40) +
                          "; the checkpoint is damaged, resume from an earlier one",
                      {{"file", path}});
    }
    all["updates"] = at::scalar_tensor(updates, at::kLong);
  }
  if (parallel_) {
    std::set<std::string> mine;
    for (const auto& [name, t] : optimizer_.state()) mine.insert(name);
    all = parallel_->from_first(std::move(all), control, [&](const std::string& name) {
      return mine.contains(name) || name == "updates" || name.starts_with("parameter.") ||
             (averages_ && name.starts_with("average.")) || (loss_scale_ && name.starts_with("loss_scale."));
    });
  }
  std::map<std::string, Tensor> averages;
  for (const auto& [name, t] : all)
    if (name.starts_with("average.")) averages[name.substr(8)] = t;
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters_) {
    const auto it = all.find("parameter." + name);
    if (it == all.end() || it->second.sizes() != parameter.sizes())
      throw Failure(it == all.end() ? Code::KeysMismatch : Code::BadShape,
                    "[resume] parameter." + name + " in " + path + ": expected this run's tensor, found " +
                        (it == all.end() ? "none" : "another shape") +
                        "; the checkpoint was written by another configuration",
                    {{"file", path}, {"key", name}});
    parameter.detach().copy_(it->second);
  }
  optimizer_.restore(all);
  if (loss_scale_) loss_scale_->restore(all);
  if (averages_) averages_->restore(averages, all.at("updates").item<int64_t>());
}

void Trainer::export_weights(const std::string& path, const std::string& dtype) {
  const auto type = parse_dtype(dtype);
  with_averages([&] { objective_->export_weights(path, type); });
}

Trainer::Swapped::Swapped(Trainer& trainer) : trainer_(trainer) {
  if (!trainer_.averages_) return;
  const at::NoGradGuard no_grad;
  const auto& averages = trainer_.averages_->averages();
  for (size_t i = 0; i < averages.size(); ++i) {
    auto parameter = trainer_.parameters_[i].second.detach();
    kept_.push_back(parameter.clone());
    parameter.copy_(averages[i].second);
  }
}

Trainer::Swapped::~Swapped() {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < kept_.size(); ++i) trainer_.parameters_[i].second.detach().copy_(kept_[i]);
}

}  // namespace drm
