// AdamW, gradient clipping and weight averages, over lists of named tensors.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace drm {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Copies state[name] of a checkpoint into `to`. Throws Failure(KeysMismatch | BadShape) saying what does not fit.
void take_state(const std::map<std::string, at::Tensor>& state, const std::string& name, at::Tensor& to);

struct AdamWOptions {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-4;
};

/// Scales all gradients by min(1, max_norm / (norm + 1e-6)), where norm is the 2-norm over all of them together
/// (PyTorch's clip_grad_norm_). Returns the norm before clipping as a scalar tensor: reading it is left to the caller,
/// since it waits for the device. Gradients that are undefined are skipped; max_norm <= 0 only measures.
at::Tensor clip_gradients(const NamedTensors& parameters, double max_norm);

/// Decoupled weight decay (Loshchilov and Hutter 2019) with PyTorch's conventions: decay p *= 1 - lr * wd comes first,
/// moments and master weights are fp32. Parameters in 16 bits get an fp32 master copy, which is what is stepped.
class AdamW {
 public:
  AdamW(NamedTensors parameters, const AdamWOptions& options);

  /// One step from the parameters' gradients with this learning rate; those without a gradient do not move and do not
  /// count the step.
  void step(double learning_rate);
  void step() { step(options_.learning_rate); }
  void zero_gradients();

  const NamedTensors& parameters() const { return parameters_; }

  /// Everything that a resumed run needs, as tensors with stable names: "exp_avg.<name>", "exp_avg_sq.<name>",
  /// "step.<name>", and "master.<name>" for parameters in 16 bits.
  NamedTensors state() const;
  /// Takes back what state() gave. Throws Failure(KeysMismatch | BadShape) naming what is missing or does not fit.
  void restore(const std::map<std::string, at::Tensor>& state);

 private:
  NamedTensors parameters_;
  AdamWOptions options_;
  std::vector<at::Tensor> master_;  // fp32: the parameter itself, or its copy
  std::vector<at::Tensor> exp_avg_, exp_avg_sq_, steps_;
};

struct EmaOptions {
  double decay = 0.9;
  bool warm_up = true;  // the decay of step s is min((1 + s) / (10 + s), decay)
  int64_t every = 1;    // the average moves only where s + 1 is a multiple of it
  int64_t first = 0;    // s of the first step; flow_grpo counts from 1
};

/// Exponential moving average of parameters, in fp32: ema += (1 - decay) * (p - ema).
class Ema {
 public:
  Ema(const NamedTensors& parameters, const EmaOptions& options);
  /// To be called after every step.
  void update();
  const NamedTensors& averages() const { return averages_; }
  int64_t updates() const { return updates_; }
  /// Throws Failure(KeysMismatch | BadShape).
  void restore(const std::map<std::string, at::Tensor>& averages, int64_t updates);

 private:
  NamedTensors parameters_, averages_;
  EmaOptions options_;
  int64_t updates_ = 0;
};

}  // namespace drm
