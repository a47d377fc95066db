// Bradley–Terry preference (paper Eq. 10): how likely one image is to be preferred, given two scores.
#pragma once
#include <ATen/core/Tensor.h>

namespace drm {

/// -log sigmoid(s_chosen - s_rejected), elementwise in fp32; finite for any margin.
at::Tensor preference_loss(const at::Tensor& chosen, const at::Tensor& rejected);

/// 1 where the chosen one's score is higher, else 0: a tie counts as wrong. fp32.
at::Tensor preferred(const at::Tensor& chosen, const at::Tensor& rejected);

}  // namespace drm
