#include <ATen/ATen.h>

#include <cmath>

#include "nn/initialize.h"
#include "scorers/clip_model.h"

namespace drm {
namespace {

void initialize_tower(std::vector<ClipLayer>& layers, int64_t width, Linear& projection, at::Generator generator) {
  const auto weight = [&](Linear& l, double deviation) { normal_weight(l, deviation, generator); };
  const double d = 1 / std::sqrt(static_cast<double>(width));
  const double deep = d / std::sqrt(2.0 * static_cast<double>(layers.size()));
  for (auto& l : layers) {
    for (auto* p : {&l.q, &l.k, &l.v}) weight(*p, deep);
    weight(l.out, d);
    weight(l.fc1, d / std::sqrt(2.0));
    weight(l.fc2, deep);
  }
  weight(projection, d);
}

/// Once all leaves have their usual values.
void initialize_vision(ClipVision& v, at::Generator generator) {
  initialize_tower(v.layers, v.config.hidden_size, v.projection, generator);
  v.patch.weight = at::empty(v.patch.weight.sizes(), at::kFloat).normal_(0, 0.02, generator);
}

}  // namespace

void initialize_clip(ClipModel& m, at::Generator generator) {
  each(m, [&](const std::string&, auto& leaf) { initialize_leaf(leaf, generator); });
  initialize_tower(m.text.layers, m.text.config.hidden_size, m.text.projection, generator);
  initialize_vision(m.vision, generator);
  m.logit_scale.value = at::full({}, std::log(1 / 0.07), at::kFloat);
}

void initialize_clip_vision(ClipVision& v, at::Generator generator) {
  each(v, [&](const std::string&, auto& leaf) { initialize_leaf(leaf, generator); });
  initialize_vision(v, generator);
}

}  // namespace drm
