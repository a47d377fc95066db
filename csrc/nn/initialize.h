// Random weights for models that are trained from scratch, drawn on the CPU so that a seed means the same model on
// every device.
#pragma once
#include <ATen/CPUGeneratorImpl.h>

#include <string>

#include "nn/layers.h"

namespace drm {

at::Generator seeded_generator(uint64_t seed);

/// PyTorch's default of linear and convolutional layers, for weights and biases: uniform in +-1 / sqrt(fan-in). Norms
/// are one and zero, embeddings normal with deviation 0.02. Buffers are left alone.
template <class Model>
void initialize(Model& m, at::Generator generator);

/// Weights uniform in +-sqrt(6 / (fan-in + fan-out)) (Glorot and Bengio 2010), biases zero.
void xavier_uniform(Linear& l, at::Generator generator);
/// Weights normal, biases zero.
void normal_weight(Linear& l, double deviation, at::Generator generator);
void zero(Linear& l);

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

}  // namespace drm
