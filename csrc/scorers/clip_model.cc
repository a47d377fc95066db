#include "scorers/clip_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <cmath>

#include "scorers/weights_hint.h"

namespace drm {
namespace {

const double kLargestLogitScale = std::log(100.0);

const Json& section(const Json& json, const char* name, const std::string& path) {
  const auto* found = json.find(name);
  if (!found || !found->is_object())
    throw Failure(Code::BadConfig, "[config] " + path + ": expected a CLIP model's config with a " + name +
                                       "; is this the config of one tower only?");
  return *found;
}

}  // namespace

ClipModelConfig read_clip_model_config(const std::string& path) {
  const auto json = Json::read(path);
  ClipModelConfig c{read_clip_config(ConfigReader(section(json, "text_config", path), path)),
                    read_clip_vision_config(ConfigReader(section(json, "vision_config", path), path))};
  const auto joint = ConfigReader(json, path).integer("projection_dim", 512);
  if (joint < 1 || joint > 65536)
    throw Failure(Code::BadConfig,
                  "[config] " + path + ": expected a positive projection_dim, found " + std::to_string(joint));
  c.text.projection_dim = c.vision.projection_dim = joint;
  return c;
}

ClipModel make_clip_model(const ClipModelConfig& config) {
  return {make_clip(config.text), make_clip_vision(config.vision), make_parameter({})};
}

std::vector<WantedTensor> wanted_clip_model(ClipModel& m, const std::string& prefix) {
  auto all = wanted(m);
  for (auto& w : all) {
    if (w.target == &m.logit_scale.value) w.dtype = at::kFloat;
    w.key = prefix + w.key;
  }
  return all;
}

bool ignorable_in_clip_model(const std::string& key) { return key.ends_with(".embeddings.position_ids"); }

void load_clip_model(ClipModel& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                     const std::function<void(uint64_t, uint64_t)>& progress) {
  weights.fill(wanted_clip_model(m), dtype, device, ignorable_in_clip_model, looks_like(weights), progress);
}

double checked_logit_scale(const ClipModel& m, const Weights& weights) {
  const auto scale = m.logit_scale.value.item<double>();
  if (!std::isfinite(scale))
    throw Failure(Code::NotFinite,
                  "[load] logit_scale in " + weights.description() +
                      ": expected a finite number, found NaN or infinity; the weights are damaged: fetch them again",
                  {{"file", weights.description()}});
  return scale;
}

Tensor image_features(const ClipModel& m, const Tensor& pixels, const std::optional<Tensor>& kept) {
  return clip_image_features(m.vision, pixels, kept);
}

Tensor text_features(const ClipModel& m, const Tensor& ids) { return unit(clip_forward(m.text, ids).pooled); }

ClipLoss clip_loss(const ClipModel& m, const Tensor& pixels, const Tensor& ids, const std::optional<Tensor>& kept) {
  const auto images = image_features(m, pixels, kept), texts = text_features(m, ids);
  // Autocast would compute the product in bf16: near 1 its steps are 1/128, which is 0.8 of a logit at e^s = 100.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto scale = m.logit_scale.value.to(at::kFloat).clamp_max(kLargestLogitScale).exp();
  const auto logits = scale * images.matmul(texts.t());
  const auto equal = ids.unsqueeze(0).eq(ids.unsqueeze(1)).all(-1).to(at::kFloat);
  const auto entropy = [](const Tensor& l) { return -l.log_softmax(-1).diagonal().mean(); };
  const auto accuracy = [&](const Tensor& l) { return equal.gather(1, l.detach().argmax(-1, true)).mean(); };
  return {(entropy(logits) + entropy(logits.t())) / 2, accuracy(logits), accuracy(logits.t())};
}

void clamp_logit_scale(ClipModel& m) {
  const at::NoGradGuard no_grad;
  m.logit_scale.value.clamp_max_(kLargestLogitScale);
}

}  // namespace drm
