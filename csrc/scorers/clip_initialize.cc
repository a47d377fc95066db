#include <ATen/ATen.h>

#include <cmath>

#include "nn/initialize.h"
#include "scorers/clip_model.h"

namespace drm {

void initialize_clip(ClipModel& m, at::Generator generator) {
  const auto weight = [&](Linear& l, double deviation) { normal_weight(l, deviation, generator); };
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
  m.vision.patch.weight = at::empty(m.vision.patch.weight.sizes(), at::kFloat).normal_(0, 0.02, generator);
  m.logit_scale.value = at::full({}, std::log(1 / 0.07), at::kFloat);
}

}  // namespace drm
