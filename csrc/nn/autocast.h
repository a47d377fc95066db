// libtorch's automatic mixed precision for a scope: matrix products and convolutions in `dtype`, the rest as it is.
#pragma once
#include <ATen/core/Tensor.h>

namespace drm {

class Autocast {
 public:
  struct State {
    at::DeviceType device = at::kCPU;
    bool enabled = false;
    at::ScalarType dtype = at::kBFloat16;
  };
  static State current(at::DeviceType device);

  /// Until the end of the scope; fp32 means off. Weights that need gradients are cast once a scope.
  Autocast(at::DeviceType device, at::ScalarType dtype) : Autocast(State{device, dtype != at::kFloat, dtype}) {}
  explicit Autocast(State wanted);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  State before_;
};

}  // namespace drm
