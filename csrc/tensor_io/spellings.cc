#include "tensor_io/spellings.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

namespace drm {
namespace {

using Form = Source::Form;

/// "joint_blocks.12.rest" after `head` -> (12, "rest"); nothing when it is not of that form.
std::optional<std::pair<int64_t, std::string>> numbered(const std::string& key, const std::string& head) {
  if (key.rfind(head, 0) != 0) return std::nullopt;
  const auto dot = key.find('.', head.size());
  if (dot == std::string::npos || dot == head.size() || dot - head.size() > 6) return std::nullopt;
  const auto digits = key.substr(head.size(), dot - head.size());
  if (digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return std::pair(std::stoll(digits), key.substr(dot + 1));
}

int64_t count_numbered(const std::vector<std::string>& keys, const std::string& head) {
  int64_t count = 0;
  for (const auto& key : keys)
    if (const auto n = numbered(key, head)) count = std::max(count, n->first + 1);
  return count;
}

/// Splits "name.weight" or "name.bias" into name and ".weight" / ".bias".
std::pair<std::string, std::string> stem_and_parameter(const std::string& key) {
  const auto dot = key.rfind('.');
  return dot == std::string::npos ? std::pair(key, std::string()) : std::pair(key.substr(0, dot), key.substr(dot));
}

std::vector<Translated> translate_joint_block(const std::string& file_key, int64_t block, const std::string& rest,
                                              bool last) {
  const bool image = rest.rfind("x_block.", 0) == 0;
  if (!image && rest.rfind("context_block.", 0) != 0) return {};
  const auto [stem, parameter] = stem_and_parameter(rest.substr(rest.find('.') + 1));
  const auto ours = "transformer_blocks." + std::to_string(block) + ".";
  const auto one = [&](const std::string& name, Form form = Form::Whole) {
    return std::vector<Translated>{{ours + name + parameter, {file_key, form}}};
  };
  const auto three = [&](const std::string& attention, const char* q, const char* k, const char* v) {
    std::vector<Translated> all;
    for (int64_t i = 0; i < 3; ++i)
      all.push_back({ours + attention + "." + std::array{q, k, v}[static_cast<size_t>(i)] + parameter,
                     {file_key, Form::Third, i}});
    return all;
  };
  if (stem == "attn.qkv")
    return image ? three("attn", "to_q", "to_k", "to_v") : three("attn", "add_q_proj", "add_k_proj", "add_v_proj");
  if (stem == "attn2.qkv" && image) return three("attn2", "to_q", "to_k", "to_v");
  static const std::map<std::string, std::string> image_names = {
      {"attn.proj", "attn.to_out.0"},   {"attn.ln_q", "attn.norm_q"},   {"attn.ln_k", "attn.norm_k"},
      {"attn2.proj", "attn2.to_out.0"}, {"attn2.ln_q", "attn2.norm_q"}, {"attn2.ln_k", "attn2.norm_k"},
      {"mlp.fc1", "ff.net.0.proj"},     {"mlp.fc2", "ff.net.2"},        {"adaLN_modulation.1", "norm1.linear"}};
  static const std::map<std::string, std::string> text_names = {
      {"attn.proj", "attn.to_add_out"},   {"attn.ln_q", "attn.norm_added_q"},
      {"attn.ln_k", "attn.norm_added_k"}, {"mlp.fc1", "ff_context.net.0.proj"},
      {"mlp.fc2", "ff_context.net.2"},    {"adaLN_modulation.1", "norm1_context.linear"}};
  const auto& names = image ? image_names : text_names;
  const auto it = names.find(stem);
  if (it == names.end()) return {};
  // The last text norm is (scale, shift) with diffusers and (shift, scale) here.
  return one(it->second, !image && last && stem == "adaLN_modulation.1" ? Form::SwappedHalves : Form::Whole);
}

}  // namespace

int64_t count_sd3_blocks(const std::vector<std::string>& keys, const std::string& prefix) {
  return count_numbered(keys, prefix + "joint_blocks.");
}

std::vector<Translated> translate_sd3(const std::string& key, const std::string& prefix, int64_t last_block) {
  if (key.rfind(prefix, 0) != 0) return {};
  const auto name = key.substr(prefix.size());
  if (const auto block = numbered(name, "joint_blocks."))
    return translate_joint_block(key, block->first, block->second, block->first == last_block);
  if (name == "pos_embed") return {{"pos_embed.pos_embed", {key}}};
  const auto [stem, parameter] = stem_and_parameter(name);
  static const std::map<std::string, std::string> names = {
      {"x_embedder.proj", "pos_embed.proj"},
      {"t_embedder.mlp.0", "time_text_embed.timestep_embedder.linear_1"},
      {"t_embedder.mlp.2", "time_text_embed.timestep_embedder.linear_2"},
      {"y_embedder.mlp.0", "time_text_embed.text_embedder.linear_1"},
      {"y_embedder.mlp.2", "time_text_embed.text_embedder.linear_2"},
      {"context_embedder", "context_embedder"},
      {"final_layer.linear", "proj_out"},
      {"final_layer.adaLN_modulation.1", "norm_out.linear"}};
  const auto it = names.find(stem);
  if (it == names.end()) return {};
  return {
      {it->second + parameter, {key, stem == "final_layer.adaLN_modulation.1" ? Form::SwappedHalves : Form::Whole}}};
}

int64_t count_ldm_levels(const std::vector<std::string>& keys, const std::string& prefix) {
  return count_numbered(keys, prefix + "decoder.up.");
}

std::vector<Translated> translate_ldm_vae(const std::string& key, const std::string& prefix, int64_t levels) {
  if (key.rfind(prefix, 0) != 0) return {};
  const auto name = key.substr(prefix.size());
  const auto whole = [&](const std::string& ours, Form form = Form::Whole) {
    return std::vector<Translated>{{ours, {key, form}}};
  };
  if (name.rfind("quant_conv.", 0) == 0 || name.rfind("post_quant_conv.", 0) == 0) return whole(name);
  const bool encoder = name.rfind("encoder.", 0) == 0;
  if (!encoder && name.rfind("decoder.", 0) != 0) return {};
  const std::string side = encoder ? "encoder." : "decoder.";
  const auto rest = name.substr(side.size());
  const auto resnet = [](std::string tail) {
    if (tail.rfind("nin_shortcut", 0) == 0) tail.replace(0, std::string("nin_shortcut").size(), "conv_shortcut");
    return tail;
  };
  if (const auto level = numbered(rest, encoder ? "down." : "up.")) {
    const auto index = encoder ? level->first : levels - 1 - level->first;
    const auto block = side + (encoder ? "down_blocks." : "up_blocks.") + std::to_string(index) + ".";
    if (const auto r = numbered(level->second, "block."))
      return whole(block + "resnets." + std::to_string(r->first) + "." + resnet(r->second));
    if (level->second.rfind("downsample.", 0) == 0) return whole(block + "downsamplers.0." + level->second.substr(11));
    if (level->second.rfind("upsample.", 0) == 0) return whole(block + "upsamplers.0." + level->second.substr(9));
    return {};
  }
  for (const auto& [theirs, ours] :
       {std::pair("mid.block_1.", "mid_block.resnets.0."), std::pair("mid.block_2.", "mid_block.resnets.1.")})
    if (rest.rfind(theirs, 0) == 0) return whole(side + ours + resnet(rest.substr(std::string(theirs).size())));
  if (rest.rfind("mid.attn_1.", 0) == 0) {
    const auto [stem, parameter] = stem_and_parameter(rest.substr(11));
    static const std::map<std::string, std::string> names = {
        {"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"}, {"proj_out", "to_out.0"}};
    const auto it = names.find(stem);
    if (it == names.end()) return {};
    return whole(side + "mid_block.attentions.0." + it->second + parameter,
                 stem != "norm" && parameter == ".weight" ? Form::Squeezed : Form::Whole);
  }
  if (rest.rfind("norm_out.", 0) == 0) return whole(side + "conv_" + rest);
  if (rest.rfind("conv_in.", 0) == 0 || rest.rfind("conv_out.", 0) == 0) return whole(name);
  return {};
}

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

}  // namespace drm
