// The golden scorers (test/golden/scorers, or DRM_GOLDEN's): tensors by name, the sizes of a case's models.
#pragma once
#include <ATen/ATen.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "check.h"
#include "scorers/clip_model.h"
#include "tensor_io/json.h"
#include "tensor_io/safetensors.h"

namespace drm::test {

inline std::string scorers_golden() {
  const char* root = std::getenv("DRM_GOLDEN");
  return std::string(root && *root ? root : DRM_GOLDEN) + "/scorers/";
}

/// The configs of published shape that come with the program.
inline const std::string kScorerConfigs = DRM_GOLDEN "/../../configs/scorers/";

/// A case as config.json describes it.
inline Json scorer_case(const std::string& name) {
  return *Json::read(scorers_golden() + "config.json").find("cases")->find(name);
}

/// The tensors of one case.
struct Io {
  std::shared_ptr<const SafetensorsFile> file = SafetensorsFile::open(scorers_golden() + "io.safetensors");
  std::string name;
  at::Tensor operator[](const std::string& what) const { return file->load(name + "/" + what); }
};

/// |got - want| <= atol + 1e-4 |want|.
inline void close(const at::Tensor& got, const at::Tensor& want, double atol, const std::string& what) {
  CHECK(got.sizes() == want.sizes());
  const auto excess = ((got - want).abs() - atol - 1e-4 * want.abs()).max().item<double>();
  if (!(excess <= 0)) fail(__FILE__, __LINE__, what + ": beyond the tolerance by " + std::to_string(excess));
}

/// The tiny CLIP of these sizes; exact GELU unless they name an activation.
inline ClipModelConfig clip_config(const Json& sizes) {
  const auto n = [&](const char* key) { return sizes.find(key)->as_int(); };
  const auto* activation = sizes.find("activation");
  ClipModelConfig k;
  k.text.hidden_size = n("tw");
  k.text.intermediate_size = n("tm");
  k.text.num_hidden_layers = n("tl");
  k.text.num_attention_heads = n("th");
  k.text.vocab_size = n("vocab");
  k.text.max_position_embeddings = n("ctx");
  k.text.eos_token_id = n("vocab") - 1;
  k.vision.hidden_size = n("vw");
  k.vision.intermediate_size = n("vm");
  k.vision.num_hidden_layers = n("vl");
  k.vision.num_attention_heads = n("vh");
  k.vision.image_size = n("image");
  k.vision.patch_size = n("patch");
  k.text.projection_dim = k.vision.projection_dim = n("proj");
  k.text.quick_gelu = k.vision.quick_gelu = activation && activation->as_string() == "quick_gelu";
  return k;
}

}  // namespace drm::test
