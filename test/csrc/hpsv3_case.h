// The model of the golden case hpsv3.
#pragma once
#include "scorer_fixture.h"
#include "scorers/hpsv3_model.h"

namespace drm::test {

inline Hpsv3Config config_of(const GoldenScorer& c) {
  Hpsv3Config k;
  k.text.vocab_size = c.size("vocab");
  k.text.hidden_size = k.vision.hidden_size = c.size("hidden");
  k.text.intermediate_size = c.size("inter");
  k.text.num_hidden_layers = c.size("layers");
  k.text.num_attention_heads = c.size("heads");
  k.text.num_key_value_heads = c.size("kv");
  k.text.rms_norm_eps = c.number("eps");
  k.text.rope_theta = c.number("theta");
  k.vision.depth = c.size("v_layers");
  k.vision.embed_dim = c.size("v_dim");
  k.vision.mlp_width = 4 * c.size("v_dim");
  k.vision.num_heads = c.size("v_heads");
  k.vision.patch_size = c.size("patch");
  k.vision.spatial_merge_size = c.size("merge");
  k.vision.temporal_patch_size = c.size("temporal");
  const auto& head = c.list("head").items();
  k.head = {head[0].as_int(), head[1].as_int()};
  k.image_token_id = c.list("special_ids").find("<|image_pad|>")->as_int();
  k.reward_token_id = c.list("special_ids").find("<|Reward|>")->as_int();
  return k;
}

}  // namespace drm::test
