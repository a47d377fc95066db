#include "tensor_io/lora_names.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

namespace drm {
namespace {

/// Linear layers of SD3's original naming, of a joint block and of the rest.
constexpr const char* kBlockLayers[] = {
    "x_block.attn.qkv",      "x_block.attn.proj",     "x_block.attn2.qkv",          "x_block.attn2.proj",
    "x_block.mlp.fc1",       "x_block.mlp.fc2",       "context_block.attn.qkv",     "context_block.attn.proj",
    "context_block.mlp.fc1", "context_block.mlp.fc2", "x_block.adaLN_modulation.1", "context_block.adaLN_modulation.1"};
constexpr const char* kOuterLayers[] = {"t_embedder.mlp.0",
                                        "t_embedder.mlp.2",
                                        "y_embedder.mlp.0",
                                        "y_embedder.mlp.2",
                                        "context_embedder",
                                        "final_layer.linear",
                                        "final_layer.adaLN_modulation.1"};

std::string flat(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

std::string without_weight(const std::string& key) { return key.substr(0, key.size() - std::string(".weight").size()); }

/// Original name -> our layers.
std::vector<LoraTarget> targets_of(const std::string& original, int64_t last_block) {
  std::vector<LoraTarget> all;
  for (const auto& t : translate_sd3(original + ".weight", "", last_block))
    all.push_back({without_weight(t.key), t.source.form, t.source.part});
  return all;
}

/// Names with dots by their form with underscores, which cannot be undone by rule: "to_q" has one of its own.
struct Flattened {
  std::map<std::string, std::string> originals, ours;  // of a block ("x_block_attn_qkv") or of the rest, whole
};
const Flattened& flattened() {
  static const Flattened all = [] {
    Flattened f;
    const std::string block = "joint_blocks.0.", our_block = "transformer_blocks.0.";
    for (const char* name : kBlockLayers) {
      f.originals[flat(name)] = name;
      for (const auto& t : targets_of(block + name, -1))
        f.ours[flat(t.layer.substr(our_block.size()))] = t.layer.substr(our_block.size());
    }
    for (const char* name : kOuterLayers) {
      f.originals[flat(name)] = name;
      for (const auto& t : targets_of(name, -1)) f.ours[flat(t.layer)] = t.layer;
    }
    return f;
  }();
  return all;
}

/// "joint_blocks" "_12_" "x_block_attn_qkv" -> "joint_blocks.12.x_block.attn.qkv" by one of the maps; "" when unknown.
std::string unflatten(const std::string& name, const std::string& blocks,
                      const std::map<std::string, std::string>& names) {
  const auto find = [&](const std::string& key) {
    const auto it = names.find(key);
    return it == names.end() ? std::string() : it->second;
  };
  const auto head = blocks + "_";
  if (name.rfind(head, 0) != 0) return find(name);
  const auto end = name.find('_', head.size());
  if (end == std::string::npos || end == head.size() || end - head.size() > 6) return "";
  const auto digits = name.substr(head.size(), end - head.size());
  if (digits.find_first_not_of("0123456789") != std::string::npos) return "";
  const auto layer = find(name.substr(end + 1));
  return layer.empty() ? "" : blocks + "." + digits + "." + layer;
}

int64_t block_of(const std::string& name) {
  const auto dot = name.find('.');
  return dot == std::string::npos ? -1 : std::strtoll(name.c_str() + dot + 1, nullptr, 10);
}

std::vector<LoraTarget> original_targets(const std::string& original, double outputs) {
  return targets_of(original, outputs == 2 ? block_of(original) : -1);
}

}  // namespace

namespace {

/// PEFT's ".lora_A", ".lora_A.weight" and ".lora_A.default.weight", whatever the adapter is called there.
std::optional<LoraKey> parse_peft_key(const std::string& key) {
  const std::string ending = ".weight";
  for (const auto& [tag, part] : {std::pair(".lora_A", LoraKey::Part::A), std::pair(".lora_B", LoraKey::Part::B)}) {
    const auto at = key.rfind(tag);
    if (at == std::string::npos || at == 0) continue;
    const auto rest = key.substr(at + std::string(tag).size());
    const bool named = rest.starts_with('.') && rest.ends_with(ending) &&
                       rest.find('.', 1) == rest.size() - ending.size() && rest.size() > ending.size() + 1;
    if (rest.empty() || rest == ending || named) return LoraKey{part, key.substr(0, at)};
  }
  return std::nullopt;
}

}  // namespace

std::optional<LoraKey> parse_lora_key(const std::string& key) {
  using Part = LoraKey::Part;
  if (const auto peft = parse_peft_key(key)) return peft;
  static const std::pair<std::string, Part> endings[] = {{".lora_down.weight", Part::A},
                                                         {".lora_up.weight", Part::B},
                                                         {".lora.down.weight", Part::A},
                                                         {".lora.up.weight", Part::B},
                                                         {"_lora.down.weight", Part::A},
                                                         {"_lora.up.weight", Part::B},
                                                         {".lora_linear_layer.down.weight", Part::A},
                                                         {".lora_linear_layer.up.weight", Part::B},
                                                         {".alpha", Part::Alpha}};
  for (const auto& [end, part] : endings) {
    if (!key.ends_with(end) || key.size() == end.size()) continue;
    auto adapter = key.substr(0, key.size() - end.size());
    if (const auto at = adapter.find(".processor."); at != std::string::npos)
      adapter.erase(at, std::string(".processor").size());
    if (end[0] == '_' && adapter.ends_with(".to_out")) adapter += ".0";
    return LoraKey{part, adapter};
  }
  return std::nullopt;
}

std::string other_kind(const std::string& key) {
  constexpr std::pair<const char*, const char*> kinds[] = {{".hada_w", "LoHa"},
                                                           {".hada_t", "LoHa"},
                                                           {".lokr_", "LoKr"},
                                                           {".dora_scale", "DoRA"},
                                                           {".lora_magnitude_vector", "DoRA"},
                                                           {".lora_mid.", "a LoRA with Tucker decomposition"},
                                                           {".lora_B.bias", "a LoRA with biases"},
                                                           {".lora_embedding_", "a LoRA of embeddings"},
                                                           {".lora_diag", "KaSA"},
                                                           {".lora_E", "AdaLoRA"},
                                                           {".ranknum", "AdaLoRA"},
                                                           {".vera_lambda", "VeRA"},
                                                           {".ia3_l", "IA3"},
                                                           {".on_input", "IA3"},
                                                           {".oft_", "OFT"},
                                                           {".boft_", "BOFT"},
                                                           {".a1.weight", "GLoRA"},
                                                           {".b1.weight", "GLoRA"},
                                                           {".diff_b", "whole differences of weights"},
                                                           {".w_norm", "differences of norms"},
                                                           {".b_norm", "differences of norms"},
                                                           {".modules_to_save.", "whole layers beside a LoRA"}};
  for (const auto& [part, kind] : kinds)
    if (key.find(part) != std::string::npos) return kind;
  if (key.ends_with(".diff")) return "whole differences of weights";
  return "";
}

namespace {

/// Names with underscores for dots, in SD3's own naming or ours.
std::vector<LoraTarget> flat_targets(const std::string& name, double outputs) {
  const auto original = unflatten(name, "joint_blocks", flattened().originals);
  if (!original.empty()) return original_targets(original, outputs);
  const auto ours = unflatten(name, "transformer_blocks", flattened().ours);
  if (!ours.empty()) return {{ours}};
  return {};
}

/// Names with dots, which say by themselves that they are an SD3 transformer's.
LoraName dotted_name(const std::string& name, double outputs) {
  if (auto targets = original_targets(name, outputs); !targets.empty()) return {"sd3", std::move(targets)};
  // As a transformer's save_lora_adapter() has it, without the pipeline's prefix.
  if (name.starts_with("transformer_blocks.")) return {"diffusers", {{name}}};
  for (const auto& [_, layer] : flattened().ours)
    if (layer == name) return {"diffusers", {{name}}};
  return {};
}

}  // namespace

LoraName read_lora_name(const std::string& adapter, double outputs) {
  const auto after = [&](const std::string& prefix) -> std::optional<std::string> {
    if (!adapter.starts_with(prefix)) return std::nullopt;
    return adapter.substr(prefix.size());
  };
  for (const auto& [prefix, spelling] : {std::pair("lora_unet_", "kohya"), std::pair("lora_transformer_", "onetrainer"),
                                         std::pair("lycoris_", "lycoris")})
    if (const auto name = after(prefix)) {
      auto targets = flat_targets(*name, outputs);
      if (targets.empty()) return {};
      return {spelling, std::move(targets)};
    }
  for (const char* prefix : {"diffusion_model.", "model.diffusion_model."})
    if (const auto name = after(prefix)) return dotted_name(*name, outputs);
  if (const auto name = after("base_model.model.")) {
    if (auto known = read_lora_name(*name, outputs); !known.targets.empty()) return {"peft", std::move(known.targets)};
    return {"peft", {{*name}}};
  }
  if (const auto name = after("transformer.")) {
    if (auto known = dotted_name(*name, outputs); !known.targets.empty())
      return {"diffusers", std::move(known.targets)};
    return {"diffusers", {{*name}}};
  }
  return dotted_name(adapter, outputs);
}

std::optional<LoraTarget> kohya_name(const std::string& layer, double outputs) {
  const std::string head = "transformer_blocks.";
  std::vector<std::string> originals;
  if (layer.rfind(head, 0) == 0) {
    const auto block = layer.substr(head.size(), layer.find('.', head.size()) - head.size());
    for (const char* name : kBlockLayers) originals.push_back("joint_blocks." + block + "." + name);
  } else {
    originals.assign(std::begin(kOuterLayers), std::end(kOuterLayers));
  }
  for (const auto& original : originals)
    for (const auto& t : original_targets(original, outputs))
      if (t.layer == layer) return LoraTarget{flat(original), t.form, t.part};
  return std::nullopt;
}

}  // namespace drm
