#include "nn/initialize.h"

#include <ATen/ATen.h>

#include <cmath>

namespace drm {
namespace {

Tensor uniform(at::IntArrayRef shape, double bound, at::Generator& generator) {
  return at::empty(shape, at::kFloat).uniform_(-bound, bound, generator);
}

Tensor normal(at::IntArrayRef shape, double deviation, at::Generator& generator) {
  return at::empty(shape, at::kFloat).normal_(0, deviation, generator);
}

void fan_in_uniform(Tensor& weight, Tensor& bias, at::Generator& generator) {
  const double bound = 1 / std::sqrt(static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0)));
  weight = uniform(weight.sizes(), bound, generator);
  if (bias.defined()) bias = uniform(bias.sizes(), bound, generator);
}

}  // namespace

at::Generator seeded_generator(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

void initialize_leaf(Linear& l, at::Generator generator) { fan_in_uniform(l.weight, l.bias, generator); }
void initialize_leaf(Conv2d& c, at::Generator generator) { fan_in_uniform(c.weight, c.bias, generator); }
void initialize_leaf(Norm& n, at::Generator) {
  n.weight = at::ones(n.weight.sizes(), at::kFloat);
  if (n.bias.defined()) n.bias = at::zeros(n.bias.sizes(), at::kFloat);
}
void initialize_leaf(Parameter& p, at::Generator generator) { p.value = normal(p.value.sizes(), 0.02, generator); }
void initialize_leaf(Table& t, at::Generator generator) { t.weight = normal(t.weight.sizes(), 0.02, generator); }

void xavier_uniform(Linear& l, at::Generator generator) {
  const double bound = std::sqrt(6.0 / static_cast<double>(l.weight.size(0) + l.weight.size(1)));
  l.weight = uniform(l.weight.sizes(), bound, generator);
  if (l.bias.defined()) l.bias = at::zeros(l.bias.sizes(), at::kFloat);
}

void normal_weight(Linear& l, double deviation, at::Generator generator) {
  l.weight = normal(l.weight.sizes(), deviation, generator);
  if (l.bias.defined()) l.bias = at::zeros(l.bias.sizes(), at::kFloat);
}

void zero(Linear& l) {
  l.weight = at::zeros(l.weight.sizes(), at::kFloat);
  if (l.bias.defined()) l.bias = at::zeros(l.bias.sizes(), at::kFloat);
}

}  // namespace drm
