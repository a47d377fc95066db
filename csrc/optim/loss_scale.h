// Dynamic loss scaling for fp16 (Micikevicius et al. 2018, "Mixed Precision Training") by the rules and numbers of
// PyTorch's GradScaler. The loss is multiplied by a power of two, so that small gradients do not vanish below fp16's
// range, and the gradients are divided by it, which is exact. Gradients that are not finite were above the range: the
// step is skipped and the scale halved. After 2000 finite steps in a row it is doubled.
#pragma once
#include <map>
#include <string>

#include "optim/optimizer.h"

namespace drm {

class LossScale {
 public:
  /// What the next step's loss is multiplied by.
  double value() const { return value_; }
  /// Whether it cannot be halved any more: gradients that are not finite now are so whatever the scale.
  bool smallest() const { return value_ <= 1; }
  /// Steps skipped so far.
  int64_t overflows() const { return overflows_; }

  /// Divides all gradients by it.
  void unscale(const NamedTensors& parameters) const;
  /// After each step: whether its loss and gradients were finite.
  void update(bool finite);

  /// What a resumed run needs: "loss_scale.value", "loss_scale.good_steps" and "loss_scale.overflows".
  NamedTensors state() const;
  /// Throws Failure(KeysMismatch | BadShape | BadFile).
  void restore(const std::map<std::string, at::Tensor>& state);

 private:
  double value_ = 65536;
  int64_t good_steps_ = 0;  // in a row
  int64_t overflows_ = 0;
};

}  // namespace drm
