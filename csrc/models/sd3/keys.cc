#include "models/sd3/keys.h"

#include <array>
#include <cstdlib>
#include <map>

namespace drm {
namespace {

using Form = Source::Form;

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

/// Empty for a key that is none of theirs.
std::vector<Translated> translate_original(const std::string& key, const std::string& prefix, int64_t last_block) {
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

int64_t block_of(const std::string& name) {
  const auto dot = name.find('.');
  return dot == std::string::npos ? -1 : std::strtoll(name.c_str() + dot + 1, nullptr, 10);
}

}  // namespace

std::optional<KeyReading> read_original_sd3_keys(const std::vector<std::string>& names) {
  for (const std::string prefix : {"model.diffusion_model.", ""})
    if (any_starts(names, prefix + "joint_blocks.")) {
      const auto last = count_numbered(names, prefix + "joint_blocks.") - 1;
      return translated_keys(names, prefix, "sd3",
                             [&](const std::string& name) { return translate_original(name, prefix, last); });
    }
  return std::nullopt;
}

const OriginalLayers& sd3_original_layers() {
  static const OriginalLayers layers{
      "sd3",
      "joint_blocks",
      "transformer_blocks",
      {"x_block.attn.qkv", "x_block.attn.proj", "x_block.attn2.qkv", "x_block.attn2.proj", "x_block.mlp.fc1",
       "x_block.mlp.fc2", "context_block.attn.qkv", "context_block.attn.proj", "context_block.mlp.fc1",
       "context_block.mlp.fc2", "x_block.adaLN_modulation.1", "context_block.adaLN_modulation.1"},
      {"t_embedder.mlp.0", "t_embedder.mlp.2", "y_embedder.mlp.0", "y_embedder.mlp.2", "context_embedder",
       "final_layer.linear", "final_layer.adaLN_modulation.1"},
      // The halves of the last text norm are swapped, and only there a layer has two outputs per input.
      [](const std::string& weight, double outputs) {
        return translate_original(weight, "", outputs == 2 ? block_of(weight) : -1);
      }};
  return layers;
}

}  // namespace drm
