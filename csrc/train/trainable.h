// What an optimizer steps of a model that is trained whole.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "nn/layers.h"

namespace drm {

/// The model's tensors as fp32 leaves that require gradients, in the visitor's order; buffers are moved, not trained.
template <class Model>
std::vector<std::pair<std::string, Tensor>> trainable(Model& m, at::Device device) {
  std::vector<std::pair<std::string, Tensor>> all;
  each(m, [&](const std::string& name, auto& leaf) {
    constexpr bool trained = !std::is_same_v<std::decay_t<decltype(leaf)>, Buffer>;
    each_tensor(name, leaf, [&](const std::string& key, Tensor& t) {
      t = t.detach().to(device, trained ? at::kFloat : t.scalar_type());
      if (trained) {
        t.requires_grad_(true);
        all.emplace_back(key, t);
      }
    });
  });
  return all;
}

}  // namespace drm
