#include "lora/lora_names.h"

#include <algorithm>
#include <map>
#include <utility>

#include "models/registry.h"

namespace drm {
namespace {

std::string flat(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

std::string without_weight(const std::string& key) { return key.substr(0, key.size() - std::string(".weight").size()); }

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

/// A base's layers under its original names and ours.
class KnownLayers {
 public:
  explicit KnownLayers(const OriginalLayers& layers) : layers_(layers) {
    const auto block = layers.blocks + ".0.", our_block = layers.our_blocks + ".0.";
    for (const auto& name : layers.in_block) {
      originals_[flat(name)] = name;
      for (const auto& t : targets_of(block + name, 0))
        ours_[flat(t.layer.substr(our_block.size()))] = t.layer.substr(our_block.size());
    }
    for (const auto& name : layers.outer) {
      originals_[flat(name)] = name;
      for (const auto& t : targets_of(name, 0)) ours_[flat(t.layer)] = t.layer;
    }
  }

  const OriginalLayers& layers() const { return layers_; }

  /// Our layers that an original one holds.
  std::vector<LoraTarget> targets_of(const std::string& original, double outputs) const {
    std::vector<LoraTarget> all;
    for (const auto& t : layers_.translate(original + ".weight", outputs))
      all.push_back({without_weight(t.key), t.source.form, t.source.part});
    return all;
  }
  /// Names with underscores for dots, in the original naming or ours.
  std::vector<LoraTarget> flat_targets(const std::string& name, double outputs) const {
    const auto original = unflatten(name, layers_.blocks, originals_);
    if (!original.empty()) return targets_of(original, outputs);
    const auto ours = unflatten(name, layers_.our_blocks, ours_);
    if (!ours.empty()) return {{ours}};
    return {};
  }
  /// Whether a layer outside of the blocks is called so by us.
  bool has_outer(const std::string& layer) const {
    return std::any_of(ours_.begin(), ours_.end(), [&](const auto& entry) { return entry.second == layer; });
  }

 private:
  const OriginalLayers& layers_;
  // Names with dots by their form with underscores, which cannot be undone by rule ("to_q" has one of its own): of a
  // block ("x_block_attn_qkv") or of the rest, whole.
  std::map<std::string, std::string> originals_, ours_;
};

const std::vector<KnownLayers>& known_layers() {
  static const std::vector<KnownLayers> all = [] {
    std::vector<KnownLayers> known;
    for (const auto& kind : architectures())
      if (kind.original_layers) known.emplace_back(kind.original_layers());
    return known;
  }();
  return all;
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

std::vector<LoraTarget> flat_targets(const std::string& name, double outputs) {
  for (const auto& known : known_layers())
    if (auto targets = known.flat_targets(name, outputs); !targets.empty()) return targets;
  return {};
}

/// Names with dots, which say by themselves whose they are.
LoraName dotted_name(const std::string& name, double outputs) {
  for (const auto& known : known_layers())
    if (auto targets = known.targets_of(name, outputs); !targets.empty())
      return {known.layers().spelling, std::move(targets)};
  // As a transformer's save_lora_adapter() has it, without the pipeline's prefix.
  for (const auto& kind : architectures())
    if (name.starts_with(kind.blocks)) return {"diffusers", {{name}}};
  for (const auto& known : known_layers())
    if (known.has_outer(name)) return {"diffusers", {{name}}};
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
  for (const auto& known : known_layers()) {
    const auto& base = known.layers();
    const auto head = base.our_blocks + ".";
    auto originals = base.outer;
    if (layer.starts_with(head)) {
      const auto block =
          base.blocks + "." + layer.substr(head.size(), layer.find('.', head.size()) - head.size()) + ".";
      originals.clear();
      for (const auto& name : base.in_block) originals.push_back(block + name);
    }
    for (const auto& original : originals)
      for (const auto& t : known.targets_of(original, outputs))
        if (t.layer == layer) return LoraTarget{flat(original), t.form, t.part};
  }
  return std::nullopt;
}

}  // namespace drm
