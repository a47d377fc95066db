// MPS (Zhang et al. 2024; reference: Kwai-Kolors/MPS): CLIP ViT-H's tokens of image and prompt, of the prompt only
// those that a condition's words are near to, and a cross module between them. Shapes: B batch, S image edge, N image
// tokens, L text tokens, P projection width.
#pragma once
#include "scorers/clip_model.h"
#include "scorers/cross_module.h"

namespace drm {

struct MpsConfig {
  ClipModelConfig clip;
  CrossModuleConfig cross;
};

/// A CLIPModel's config.json with a section "cross_model" {"layers", "heads", "head_channels", "mlp_ratio"}, of our
/// making, since none was published: configs/scorers/mps.json. Throws Failure(BadConfig | BadFile).
MpsConfig read_mps_config(const std::string& path);

struct MpsModel {
  ClipModel clip;
  CrossModule cross;
};

MpsModel make_mps_model(const MpsConfig& config);
/// The module's own names as safetensors: CLIP's of transformers after "model.", "cross_model.layers. ...". Throws
/// Failure(KeysMismatch | BadFile).
void load_mps_model(MpsModel& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                    const std::function<void(uint64_t, uint64_t)>& progress = {});

/// pixels (B, 3, S, S) from clip_pixels -> (B, N, P): all of the last states projected, without the post norm.
Tensor mps_image_tokens(const MpsModel& m, const Tensor& pixels);

struct MpsTexts {
  Tensor tokens;  // (B, L, P) all of the last states projected, padding too
  Tensor end;     // (B, P) of the end token: CLIP's text feature
};
/// ids (B, L), padded with the end token.
MpsTexts mps_texts(const MpsModel& m, const Tensor& ids);

/// (B, L) fp32: of each text token its largest product with any token of the condition (1, L, P), as a share of the
/// largest in its row.
Tensor condition_similarity(const Tensor& text_tokens, const Tensor& condition_tokens);

/// (B) fp32: e^s times the cosine of the end token and the class token after the cross module. keep (B, L) bool:
/// condition_similarity() above the threshold. The classes (B, P) themselves go to `seen` where one is given.
Tensor mps_scores(const MpsModel& m, const Tensor& image_tokens, const MpsTexts& texts, const Tensor& keep,
                  Tensor* seen = nullptr);

template <class V>
void each(MpsModel& m, V&& visit) {
  each(m.clip, [&](const std::string& name, auto& leaf) { visit("model." + name, leaf); });
  each(m.cross, "cross_model.", visit);
}

}  // namespace drm
