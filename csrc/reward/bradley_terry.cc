#include "reward/bradley_terry.h"

#include <ATen/ATen.h>

namespace drm {

at::Tensor preference_loss(const at::Tensor& chosen, const at::Tensor& rejected) {
  return -at::log_sigmoid(chosen.to(at::kFloat) - rejected.to(at::kFloat));
}

at::Tensor preferred(const at::Tensor& chosen, const at::Tensor& rejected) {
  return chosen.gt(rejected).to(at::kFloat);
}

}  // namespace drm
