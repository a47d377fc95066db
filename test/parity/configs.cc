#include "configs.h"

#include "common/failure.h"

namespace drm::parity {
namespace {

const Json& field(const Json& object, const char* name) {
  const auto* value = object.find(name);
  if (!value) throw Failure(Code::BadFile, std::string("config.json: expected ") + name + ", found none");
  return *value;
}

int64_t number(const Json& object, const char* name) { return field(object, name).as_int(); }

}  // namespace

MMDiTConfig mmdit_config(const Json& sizes) {
  MMDiTConfig b;
  b.patch_size = number(sizes, "patch_size");
  b.in_channels = number(sizes, "in_channels");
  b.out_channels = number(sizes, "out_channels");
  b.num_layers = number(sizes, "num_layers");
  b.head_dim = number(sizes, "attention_head_dim");
  b.heads = number(sizes, "num_attention_heads");
  b.joint_attention_dim = number(sizes, "joint_attention_dim");
  b.pooled_projection_dim = number(sizes, "pooled_projection_dim");
  b.pos_embed_max_size = number(sizes, "pos_embed_max_size");
  b.sample_size = number(sizes, "sample_size");
  for (const auto& i : field(sizes, "dual_attention_layers").items()) b.dual_attention_layers.push_back(i.as_int());
  b.qk_norm = field(sizes, "qk_norm").is_string();
  return b;
}

RewardConfig reward_config(const Json& sizes) {
  RewardConfig r;
  r.backbone = sd3_config(mmdit_config(field(sizes, "backbone")));
  r.keep_layers = number(sizes, "keep_layers");
  const auto& head = field(sizes, "head");
  r.head.channels = number(head, "base_ch");
  r.head.groups = number(head, "gn_groups");
  r.head.hidden = number(head, "hidden");
  r.head.strides.clear();
  for (const auto& s : field(head, "conv_strides").items()) r.head.strides.push_back(s.as_int());
  return r;
}

}  // namespace drm::parity
