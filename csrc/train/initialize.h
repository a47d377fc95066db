// Random weights for models that are trained from nothing, drawn on the CPU so that a seed means the same model on
// every device.
#pragma once
#include <ATen/CPUGeneratorImpl.h>

#include <string>

#include "mmdit/mmdit.h"
#include "nn/layers.h"
#include "scorers/clip_model.h"

namespace drm {

at::Generator seeded_generator(uint64_t seed);

/// PyTorch's default of linear and convolutional layers, for weights and biases: uniform in +-1 / sqrt(fan-in). Norms
/// are one and zero, embeddings normal with deviation 0.02. Buffers are left alone.
template <class Model>
void initialize(Model& m, at::Generator generator);

/// DiT's scheme (Peebles and Xie 2023, "adaLN-Zero"): matrices Xavier-uniform, embedders normal with deviation 0.02,
/// modulations and the output layer zero, so that every block starts as the identity. Fills the position table.
void initialize_mmdit(MMDiT& m, at::Generator generator);

/// CLIP's scheme (Radford et al. 2021, as transformers has it): normal, with deviations that depend on width and depth;
/// the temperature begins at 1 / 0.07.
void initialize_clip(ClipModel& m, at::Generator generator);

/// Fills one leaf; see initialize().
void initialize_leaf(Linear& l, at::Generator generator);
void initialize_leaf(Conv2d& c, at::Generator generator);
void initialize_leaf(Norm& n, at::Generator generator);
void initialize_leaf(Table& t, at::Generator generator);
void initialize_leaf(Parameter& p, at::Generator generator);
inline void initialize_leaf(Buffer&, at::Generator) {}

template <class Model>
void initialize(Model& m, at::Generator generator) {
  each(m, [&](const std::string&, auto& leaf) { initialize_leaf(leaf, generator); });
}

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
