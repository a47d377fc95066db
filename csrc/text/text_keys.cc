#include "text/text_keys.h"

#include <map>

namespace drm {
namespace {

using Form = Source::Form;

std::vector<Translated> translate_open_clip(const std::string& key) {
  static const std::map<std::string, std::string> whole = {
      {"logit_scale", "logit_scale"},
      {"token_embedding.weight", "text_model.embeddings.token_embedding.weight"},
      {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
      {"ln_final.weight", "text_model.final_layer_norm.weight"},
      {"ln_final.bias", "text_model.final_layer_norm.bias"},
      {"visual.class_embedding", "vision_model.embeddings.class_embedding"},
      {"visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"},
      {"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
      {"visual.ln_pre.weight", "vision_model.pre_layrnorm.weight"},
      {"visual.ln_pre.bias", "vision_model.pre_layrnorm.bias"},
      {"visual.ln_post.weight", "vision_model.post_layernorm.weight"},
      {"visual.ln_post.bias", "vision_model.post_layernorm.bias"}};
  if (const auto it = whole.find(key); it != whole.end()) return {{it->second, {key}}};
  if (key == "text_projection") return {{"text_projection.weight", {key, Form::Transposed}}};
  if (key == "visual.proj") return {{"visual_projection.weight", {key, Form::Transposed}}};
  for (const auto& [theirs, ours] : {std::pair("visual.transformer.resblocks.", "vision_model.encoder.layers."),
                                     std::pair("transformer.resblocks.", "text_model.encoder.layers.")}) {
    const auto block = numbered(key, theirs);
    if (!block) continue;
    const auto layer = ours + std::to_string(block->first) + ".";
    for (const auto& [ending, parameter] :
         {std::pair("attn.in_proj_weight", ".weight"), {"attn.in_proj_bias", ".bias"}})
      if (block->second == ending) {
        std::vector<Translated> three;
        for (int64_t i = 0; i < 3; ++i)
          three.push_back({layer + "self_attn." + "qkv"[i] + "_proj" + parameter, {key, Form::Third, i}});
        return three;
      }
    static const std::map<std::string, std::string> names = {{"ln_1", "layer_norm1"},
                                                             {"ln_2", "layer_norm2"},
                                                             {"attn.out_proj", "self_attn.out_proj"},
                                                             {"mlp.c_fc", "mlp.fc1"},
                                                             {"mlp.c_proj", "mlp.fc2"}};
    const auto [stem, parameter] = stem_and_parameter(block->second);
    if (const auto it = names.find(stem); it != names.end()) return {{layer + it->second + parameter, {key}}};
  }
  return {};
}

std::optional<KeyReading> single_file_keys(const std::vector<std::string>& names, const std::string& which) {
  const auto prefix = single_file_encoder(which);
  if (which.empty() || !any_starts(names, prefix)) return std::nullopt;
  return plain_keys(names, prefix, "single file");
}

}  // namespace

std::string single_file_encoder(const std::string& which) { return "text_encoders." + which + ".transformer."; }

KeyReader clip_keys(const std::string& which) {
  return [which](const std::vector<std::string>& names) {
    if (auto found = single_file_keys(names, which)) return *found;
    if (any_starts(names, "transformer.resblocks.")) return translated_keys(names, "", "OpenAI", translate_open_clip);
    return plain_keys(names, "", "transformers");
  };
}

KeyReader t5_keys(const std::string& which) {
  return [which](const std::vector<std::string>& names) {
    if (auto found = single_file_keys(names, which)) return *found;
    return plain_keys(names, "", "transformers");
  };
}

}  // namespace drm
