// CLIP as it is trained and as it judges: two towers and a temperature (reference: transformers' CLIPModel).
// Shapes: B batch, S image edge, L tokens, P projection width.
#pragma once
#include "scorers/clip_vision.h"
#include "text/clip.h"

namespace drm {

struct ClipModelConfig {
  ClipConfig text;
  ClipVisionConfig vision;
};

/// Reads the config.json of a transformers CLIPModel, whose text_config and vision_config hold the towers and whose own
/// projection_dim counts for both. Throws Failure(BadConfig | BadFile).
ClipModelConfig read_clip_model_config(const std::string& path);

struct ClipModel {
  Clip text;
  ClipVision vision;
  Parameter logit_scale;  // scalar: logarithm of the inverse temperature
};

ClipModel make_clip_model(const ClipModelConfig& config);
/// What load_clip_model() asks a file for, each key after `prefix`: the temperature in fp32, since e^s is wrong by a
/// percent where bf16 rounds s = 4.6052 to 4.59375; the rest in the model's dtype. And the keys of published files that
/// hold no weights.
std::vector<WantedTensor> wanted_clip_model(ClipModel& m, const std::string& prefix = "");
bool ignorable_in_clip_model(const std::string& key);
/// transformers', OpenAI's or open_clip's names. Throws Failure(KeysMismatch | BadFile).
void load_clip_model(ClipModel& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                     const std::function<void(uint64_t, uint64_t)>& progress = {});

/// logit_scale as it was loaded from `weights`. Throws Failure(NotFinite).
double checked_logit_scale(const ClipModel& m, const Weights& weights);

/// CLIP's scheme (Radford et al. 2021, as transformers has it): normal, with deviations that depend on width and depth;
/// the temperature begins at 1 / 0.07.
void initialize_clip(ClipModel& m, at::Generator generator);

/// Unit vectors (B, P) in fp32. pixels (B, 3, S, S) from clip_pixels; ids (B, L) as clip_forward takes them; kept as
/// clip_vision_forward takes it.
Tensor image_features(const ClipModel& m, const Tensor& pixels, const std::optional<Tensor>& kept = {});
Tensor text_features(const ClipModel& m, const Tensor& ids);

struct ClipLoss {
  Tensor loss;           // scalar, fp32: mean of the two cross entropies
  Tensor image_to_text;  // scalar: share of images whose nearest caption is theirs, or equal to theirs
  Tensor text_to_image;  // scalar: the other way round
};

/// Symmetric InfoNCE: cross entropy of e^s I T^t along both axes. All of it is fp32, also under autocast; s counts as
/// at most ln 100. Equal captions in a batch need no targets of their own: their features are the same, so that
/// spreading the target over them changes neither the loss nor a gradient; only the floor of the loss rises.
ClipLoss clip_loss(const ClipModel& m, const Tensor& pixels, const Tensor& ids, const std::optional<Tensor>& kept = {});

/// s back to at most ln 100, where its gradient is not lost: to be called after each optimizer step.
void clamp_logit_scale(ClipModel& m);

template <class V>
void each(ClipModel& m, V&& visit) {
  visit("logit_scale", m.logit_scale);
  each_text_model(m.text, visit);
  each_vision_model(m.vision, visit);
  visit("visual_projection", m.vision.projection);
  visit("text_projection", m.text.projection);
}

}  // namespace drm
