#include "train/initialize.h"

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

void xavier(Linear& l, at::Generator& generator) {
  const double bound = std::sqrt(6.0 / static_cast<double>(l.weight.size(0) + l.weight.size(1)));
  l.weight = uniform(l.weight.sizes(), bound, generator);
  if (l.bias.defined()) l.bias = at::zeros(l.bias.sizes(), at::kFloat);
}

void embedder(Linear& l, at::Generator& generator) {
  l.weight = normal(l.weight.sizes(), 0.02, generator);
  if (l.bias.defined()) l.bias = at::zeros(l.bias.sizes(), at::kFloat);
}

void zero(Linear& l) {
  l.weight = at::zeros(l.weight.sizes(), at::kFloat);
  if (l.bias.defined()) l.bias = at::zeros(l.bias.sizes(), at::kFloat);
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

void initialize_mmdit(MMDiT& m, at::Generator generator) {
  m.positions.value = position_table(m.config);
  each(m, [&](const std::string& name, auto& leaf) {
    if constexpr (std::is_same_v<std::decay_t<decltype(leaf)>, Linear>) {
      if (name.ends_with("norm1.linear") || name.ends_with("norm1_context.linear") || name == "norm_out.linear" ||
          name == "proj_out")
        zero(leaf);
      else if (name.starts_with("time_text_embed."))
        embedder(leaf, generator);
      else
        xavier(leaf, generator);
    } else {
      initialize_leaf(leaf, generator);
    }
  });
}

void initialize_clip(ClipModel& m, at::Generator generator) {
  const auto weight = [&](Linear& l, double deviation) {
    l.weight = normal(l.weight.sizes(), deviation, generator);
    if (l.bias.defined()) l.bias = at::zeros(l.bias.sizes(), at::kFloat);
  };
  each(m, [&](const std::string&, auto& leaf) { initialize_leaf(leaf, generator); });
  const auto tower = [&](std::vector<ClipLayer>& layers, int64_t width, Linear& projection) {
    const double d = 1 / std::sqrt(static_cast<double>(width));
    const double deep = d / std::sqrt(2.0 * static_cast<double>(layers.size()));
    for (auto& l : layers) {
      for (auto* p : {&l.q, &l.k, &l.v}) weight(*p, deep);
      weight(l.out, d);
      weight(l.fc1, d / std::sqrt(2.0));
      weight(l.fc2, deep);
    }
    weight(projection, d);
  };
  tower(m.text.layers, m.text.config.hidden_size, m.text.projection);
  tower(m.vision.layers, m.vision.config.hidden_size, m.vision.projection);
  m.vision.patch.weight = normal(m.vision.patch.weight.sizes(), 0.02, generator);
  m.logit_scale.value = at::full({}, std::log(1 / 0.07), at::kFloat);
}

}  // namespace drm
