#include "tensor_io/lora_file.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <optional>

#include "tensor_io/json.h"
#include "tensor_io/safetensors.h"

namespace drm {
namespace {

namespace fs = std::filesystem;

struct Spelling {
  const char *name, *prefix, *config_prefix;
};
constexpr Spelling kDiffusers{"diffusers", "transformer.", "transformer."}, kPeft{"peft", "base_model.model.", ""};

std::string find_file(const std::string& path) {
  if (!fs::is_directory(path)) return path;
  for (const char* name : {"pytorch_lora_weights.safetensors", "adapter_model.safetensors"})
    if (fs::exists(fs::path(path) / name)) return (fs::path(path) / name).string();
  throw Failure(
      Code::BadFile,
      "[lora] " + path +
          ": expected pytorch_lora_weights.safetensors or adapter_model.safetensors in this folder, found neither",
      {{"file", path}});
}

/// Rank and alpha by layer: a default and patterns that override it for layers they end.
struct Alphas {
  std::optional<double> common;
  std::vector<std::pair<std::string, double>> patterns;
  double of(const std::string& layer, int64_t rank) const {
    for (const auto& [pattern, alpha] : patterns)
      if (is_target(layer, pattern)) return alpha;
    return common.value_or(static_cast<double>(rank));
  }
};

Alphas read_alphas(const Json& config, const std::string& prefix, const std::string& where) {
  Alphas all;
  if (const auto* rs = config.find(prefix + "use_rslora"); rs && rs->is_bool() && rs->as_bool())
    throw Failure(Code::BadFile,
                  "[lora] " + where +
                      ": expected a plain LoRA, found use_rslora, whose scale this program does not apply; merge it "
                      "with PEFT first",
                  {{"file", where}});
  if (const auto* alpha = config.find(prefix + "lora_alpha"); alpha && alpha->is_number())
    all.common = alpha->as_double();
  if (const auto* pattern = config.find(prefix + "alpha_pattern"))
    for (const auto& [layer, alpha] : pattern->members())
      if (alpha.is_number()) all.patterns.emplace_back(layer, alpha.as_double());
  return all;
}

std::string listing(const std::vector<std::string>& names) {
  std::string s;
  for (size_t i = 0; i < names.size() && i < 8; ++i) s += (i ? ", " : "") + names[i];
  return names.size() > 8 ? s + " and " + std::to_string(names.size() - 8) + " more" : s;
}

}  // namespace

LoraFile read_lora(const std::string& given) {
  LoraFile lora;
  lora.path = find_file(given);
  const auto file = SafetensorsFile::open(lora.path);
  const auto starts = [&](const Spelling& s) {
    return !file->tensors().empty() && file->tensors().begin()->first.rfind(s.prefix, 0) == 0;
  };
  if (!starts(kDiffusers) && !starts(kPeft))
    throw Failure(Code::BadFile,
                  "[lora] " + lora.path +
                      ": expected keys that start with transformer. (diffusers) or base_model.model. (PEFT), found " +
                      (file->tensors().empty() ? "no tensors" : file->tensors().begin()->first),
                  {{"file", lora.path}});
  const auto& spelling = starts(kDiffusers) ? kDiffusers : kPeft;
  lora.spelling = spelling.name;

  Alphas alphas;
  if (&spelling == &kDiffusers) {
    const auto it = file->metadata().find("lora_adapter_metadata");
    if (it != file->metadata().end())
      alphas = read_alphas(Json::parse(it->second, lora.path + " (lora_adapter_metadata)"), spelling.config_prefix,
                           lora.path);
  } else {
    const auto config = (fs::path(lora.path).parent_path() / "adapter_config.json").string();
    if (fs::exists(config)) alphas = read_alphas(Json::read(config), spelling.config_prefix, config);
  }
  lora.alpha_stated = alphas.common.has_value();

  const std::string prefix = spelling.prefix;
  for (const auto& [key, info] : file->tensors()) {
    const bool is_a = key.ends_with(".lora_A.weight"), is_b = key.ends_with(".lora_B.weight");
    if (key.rfind(prefix, 0) != 0 || (!is_a && !is_b) || info.shape.size() != 2)
      throw Failure(Code::BadFile,
                    "[lora] " + key + " in " + lora.path + ": expected only matrices named " + prefix +
                        "<layer>.lora_A.weight and lora_B.weight",
                    {{"file", lora.path}, {"key", key}});
    const auto layer = key.substr(prefix.size(), key.size() - prefix.size() - std::string(".lora_A.weight").size());
    auto& entry = lora.layers[layer];
    (is_a ? entry.a : entry.b) = file->load(key, at::kFloat, at::kCPU);
  }
  for (auto& [layer, entry] : lora.layers) {
    if (!entry.a.defined() || !entry.b.defined() || entry.a.size(0) != entry.b.size(1))
      throw Failure(Code::BadFile,
                    "[lora] " + layer + " in " + lora.path +
                        ": expected lora_A (rank, in) and lora_B (out, rank) of one rank, found " +
                        (entry.a.defined() && entry.b.defined() ? "two ranks" : "only one of them"),
                    {{"file", lora.path}, {"key", layer}});
    entry.alpha = alphas.of(layer, entry.a.size(0));
  }
  return lora;
}

std::vector<AdaptedLayer> attach(const std::vector<AdaptedLayer>& all, const LoraFile& file, double strength) {
  std::map<std::string, Linear*> by_name;
  for (const auto& [name, layer] : all) by_name[name] = layer;
  std::vector<std::string> unmatched;
  for (const auto& [name, entry] : file.layers) {
    const auto it = by_name.find(name);
    if (it == by_name.end() || it->second->weight.size(1) != entry.a.size(1) ||
        it->second->weight.size(0) != entry.b.size(0))
      unmatched.push_back(name);
  }
  if (!unmatched.empty())
    throw Failure(Code::KeysMismatch,
                  "[lora] " + file.path + ": " + std::to_string(file.layers.size() - unmatched.size()) + " of " +
                      std::to_string(file.layers.size()) +
                      " adapters fit this model; no layer of that name and size for " + listing(unmatched) +
                      "; was it trained on another base model?",
                  {{"file", file.path}, {"unmatched", listing(unmatched)}});
  std::vector<AdaptedLayer> adapted;
  for (const auto& [name, layer] : all) {  // in the model's order
    const auto it = file.layers.find(name);
    if (it == file.layers.end()) continue;
    const auto& e = it->second;
    const auto device = layer->weight.device();
    layer->lora = std::make_shared<Lora>(
        Lora{e.a.to(device), e.b.to(device), strength * e.alpha / static_cast<double>(e.a.size(0)), true});
    adapted.push_back({name, layer});
  }
  return adapted;
}

void save_lora(const std::string& path, const std::vector<AdaptedLayer>& layers, const LoraConfig& config) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, tensor] : lora_tensors(layers)) tensors.emplace_back(kDiffusers.prefix + name, tensor);
  std::string targets;
  for (const auto& t : config.targets) targets += (targets.empty() ? "\"" : ", \"") + t + "\"";
  char alpha[40];
  std::snprintf(alpha, sizeof alpha, "%.17g", config.alpha);
  save_safetensors(
      path, tensors,
      {{"format", "pt"},
       {"lora_adapter_metadata",
        "{\"transformer.peft_type\": \"LORA\", \"transformer.r\": " + std::to_string(config.rank) +
            ", \"transformer.lora_alpha\": " + alpha + ", \"transformer.target_modules\": [" + targets + "]}"}});
}

}  // namespace drm
