// The golden case of HPSv3, and its model's sizes.
#pragma once
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "scorers/hpsv3_model.h"
#include "tensor_io/json.h"
#include "tensor_io/safetensors.h"

namespace drm::test {

inline std::string golden() {
  const char* root = std::getenv("DRM_GOLDEN");
  return std::string(root && *root ? root : DRM_GOLDEN) + "/scorers/";
}

/// A case as the fixture describes it.
struct Described {
  Json json = Json::read(golden() + "config.json");
  std::string name;
  std::shared_ptr<const SafetensorsFile> io = SafetensorsFile::open(golden() + "io.safetensors");
  explicit Described(std::string n) : name(std::move(n)) {}
  const Json& config() const { return *json.find("cases")->find(name)->find("config"); }
  int64_t n(const char* key) const { return config().find(key)->as_int(); }
  double tolerance(const char* kind) const {
    return json.find("cases")->find(name)->find("tolerance")->find(kind)->as_double();
  }
  Tensor operator[](const std::string& what) const { return io->load(name + "/" + what); }
  double rtol() const { return json.find("rtol")->as_double(); }
};

inline Hpsv3Config config_of(const Described& c) {
  Hpsv3Config k;
  k.text.vocab_size = c.n("vocab");
  k.text.hidden_size = k.vision.hidden_size = c.n("hidden");
  k.text.intermediate_size = c.n("inter");
  k.text.num_hidden_layers = c.n("layers");
  k.text.num_attention_heads = c.n("heads");
  k.text.num_key_value_heads = c.n("kv");
  k.text.rms_norm_eps = c.config().find("eps")->as_double();
  k.text.rope_theta = c.config().find("theta")->as_double();
  k.vision.depth = c.n("v_layers");
  k.vision.embed_dim = c.n("v_dim");
  k.vision.mlp_width = 4 * c.n("v_dim");
  k.vision.num_heads = c.n("v_heads");
  k.vision.patch_size = c.n("patch");
  k.vision.spatial_merge_size = c.n("merge");
  k.vision.temporal_patch_size = c.n("temporal");
  const auto& head = c.config().find("head")->items();
  k.head = {head[0].as_int(), head[1].as_int()};
  k.image_token_id = c.config().find("special_ids")->find("<|image_pad|>")->as_int();
  k.reward_token_id = c.config().find("special_ids")->find("<|Reward|>")->as_int();
  return k;
}

}  // namespace drm::test
