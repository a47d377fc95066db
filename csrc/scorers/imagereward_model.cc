#include "scorers/imagereward_model.h"

#include <ATen/ATen.h>

#include "scorers/weights_hint.h"

namespace drm {

ImageRewardConfig read_imagereward_config(const std::string& path) {
  const auto json = Json::read(path);
  const ConfigReader r(json, path);
  const auto text = r.section("text_config"), head = r.section("head_config");
  ImageRewardConfig c{read_blip_vision_config(r.section("vision_config")), read_bert_config(text),
                      read_head_sizes(json, path)};
  c.pad_token_id = text.integer("pad_token_id", 0);
  c.max_length = head.integer("max_length");
  c.mean = head.number("mean");
  c.deviation = head.number("std");
  if (c.text.encoder_hidden_size != c.vision.hidden_size)
    throw Failure(Code::BadConfig,
                  "[config] " + path + ": expected an encoder_hidden_size equal to the vision_config's hidden_size " +
                      std::to_string(c.vision.hidden_size) + ", found " + std::to_string(c.text.encoder_hidden_size) +
                      "; compare with configs/scorers/imagereward.json");
  if (c.max_length < 2 || c.max_length > c.text.max_position_embeddings || !(c.deviation > 0))
    throw Failure(Code::BadConfig, "[config] " + path + ": expected a max_length of 2 to the " +
                                       std::to_string(c.text.max_position_embeddings) +
                                       " of max_position_embeddings and a positive std, found " +
                                       std::to_string(c.max_length) + " and " + std::to_string(c.deviation) +
                                       "; compare with configs/scorers/imagereward.json");
  return c;
}

ImageReward make_imagereward(const ImageRewardConfig& config) {
  return {config, make_blip_vision(config.vision), make_bert(config.text),
          make_affine_head(config.text.hidden_size, config.head_sizes)};
}

void load_imagereward(ImageReward& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                      const std::function<void(uint64_t, uint64_t)>& progress) {
  const auto ignorable = [](const std::string& key) {
    return key.rfind("blip.vision_proj.", 0) == 0 || key.rfind("blip.text_proj.", 0) == 0 ||
           key == "blip.text_encoder.embeddings.position_ids";
  };
  auto all = wanted(m);
  for (auto& w : all)
    if (w.key.rfind("mlp.", 0) == 0) w.dtype = at::kFloat;
  weights.fill(all, dtype, device, ignorable, looks_like(weights), progress);
}

Tensor imagereward_mask(const Tensor& ids, int64_t pad_token_id) {
  return ids.ne(pad_token_id).to(at::kLong).flip(1).cumsum(1).gt(0).flip(1).to(at::kLong);
}

Tensor imagereward_hidden(const ImageReward& m, const Tensor& image_tokens, const Tensor& ids,
                          const Observer* observer) {
  return bert_forward(m.text, ids, imagereward_mask(ids, m.config.pad_token_id), image_tokens, observer);
}

}  // namespace drm
