#include "scorers/mps_model.h"

#include <ATen/ATen.h>

#include "scorers/weights_hint.h"

namespace drm {
namespace {

/// Computed here; the file's may have been rounded to fp16 with the rest of the module.
bool is_frequency(const std::string& key) { return key.ends_with(".rotary_emb.inv_freq"); }

Tensor unit(const Tensor& x) {
  const auto y = x.to(at::kFloat);
  return y / y.norm(2, -1, true);
}

}  // namespace

MpsConfig read_mps_config(const std::string& path) {
  std::shared_ptr<Json> keep;
  const auto r = ConfigReader::read(path, keep).section("cross_model");
  MpsConfig c{read_clip_model_config(path), {}};
  c.cross = {c.clip.text.projection_dim, r.integer("layers"), r.integer("heads"), r.integer("head_channels"),
             r.integer("mlp_ratio")};
  const auto within = [](int64_t n, int64_t most) { return n >= 1 && n <= most; };
  const auto& k = c.cross;
  if (!within(k.layers, 1000) || !within(k.heads, 1024) || !within(k.head_channels, 1024) || k.head_channels % 2 ||
      !within(k.mlp_ratio, 64))
    throw Failure(Code::BadConfig,
                  "[config] " + r.file() +
                      ": expected positive sizes and an even number of head_channels; compare with "
                      "configs/scorers/mps.json",
                  {{"file", path}});
  return c;
}

MpsModel make_mps_model(const MpsConfig& config) {
  return {make_clip_model(config.clip), make_cross_module(config.cross)};
}

void load_mps_model(MpsModel& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                    const std::function<void(uint64_t, uint64_t)>& progress) {
  auto all = wanted_clip_model(m.clip, "model.");
  each(m.cross, "cross_model.", [&](const std::string& name, auto& leaf) {
    each_tensor(name, leaf, [&](const std::string& key, Tensor& t) { all.push_back({key, t.sizes().vec(), &t}); });
  });
  const auto ignorable = [](const std::string& key) { return is_frequency(key) || ignorable_in_clip_model(key); };
  weights.fill(all, dtype, device, ignorable, looks_like(weights), progress);
}

Tensor mps_image_tokens(const MpsModel& m, const Tensor& pixels) {
  return linear(m.clip.vision.projection, clip_vision_forward(m.clip.vision, pixels).last);
}

MpsTexts mps_texts(const MpsModel& m, const Tensor& ids) {
  const auto out = clip_forward(m.clip.text, ids);
  return {linear(m.clip.text.projection, out.last), out.pooled};
}

Tensor condition_similarity(const Tensor& text_tokens, const Tensor& condition_tokens) {
  // In fp32 whatever the towers ran in: what is near the threshold falls to one side or the other.
  const auto products = at::matmul(text_tokens.to(at::kFloat), condition_tokens.to(at::kFloat).transpose(1, 2));
  const auto nearest = products.amax(-1);
  return nearest / nearest.amax(-1, true);
}

Tensor mps_scores(const MpsModel& m, const Tensor& image_tokens, const MpsTexts& texts, const Tensor& keep,
                  Tensor* seen) {
  const auto classes = cross_module_forward(m.cross, image_tokens, texts.tokens, keep).select(1, 0);
  if (seen) *seen = classes;
  return m.clip.logit_scale.value.exp() * (unit(texts.end) * unit(classes)).sum(-1);
}

}  // namespace drm
