// How a training run steps, whatever it trains, as plain data.
#pragma once
#include <cstdint>
#include <string>

namespace drm {

struct TrainerOptions {
  std::string device = "cpu";  // "cpu", "cuda", "cuda:N"
  /// Of matrix products: "fp32", or "fp16" or "bf16" by autocast, where weights stay fp32; of a policy, of its frozen
  /// weights. In fp16 the loss is scaled (loss_scale.h).
  std::string dtype = "fp32";
  uint64_t seed = 0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double max_gradient_norm = 1;  // 0: only measured
  double ema_decay = 0;          // 0: no averages
  int64_t ema_every = 1;         // steps between updates of the averages
  bool zero = false;             // of several processes, each keeps a share of the optimizer's state (ZeRO-1)
};

template <class V>
void each_setting(TrainerOptions& o, V&& v) {
  v("beta1", o.beta1);
  v("beta2", o.beta2);
  v("eps", o.eps);
  v("weight_decay", o.weight_decay);
  v("max_gradient_norm", o.max_gradient_norm);
  v("ema_decay", o.ema_decay);
  v.optional("ema_every", o.ema_every);
  v("zero", o.zero);
}

}  // namespace drm
