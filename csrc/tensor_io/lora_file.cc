#include "tensor_io/lora_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>

#include "tensor_io/json.h"
#include "tensor_io/lora_names.h"
#include "tensor_io/safetensors.h"

namespace drm {
namespace {

namespace fs = std::filesystem;
using at::Tensor;
using Form = Source::Form;
using Part = LoraKey::Part;

[[noreturn]] void bad(const std::string& file, const std::string& what, const std::string& key = "") {
  throw Failure(Code::BadFile, "[lora] " + (key.empty() ? "" : key.substr(0, 200) + " in ") + file + ": " + what,
                {{"file", file}, {"key", key}});
}

std::string find_file(const std::string& path) {
  if (!fs::is_directory(path)) return path;
  for (const char* name : {"pytorch_lora_weights.safetensors", "adapter_model.safetensors"})
    if (fs::exists(fs::path(path) / name)) return (fs::path(path) / name).string();
  bad(path, "expected pytorch_lora_weights.safetensors or adapter_model.safetensors in this folder, found neither");
}

std::string listing(const std::vector<std::string>& names) {
  std::string s;
  for (size_t i = 0; i < names.size() && i < 8; ++i) s += (i ? ", " : "") + names[i].substr(0, 200);
  return names.size() > 8 ? s + " and " + std::to_string(names.size() - 8) + " more" : s;
}

double finite(const Json& value, const std::string& name, const std::string& where) {
  if (!value.is_number() || !std::isfinite(value.as_double())) bad(where, name + ": expected a finite number");
  return value.as_double();
}

/// What a config says about alphas: a common one, and exceptions for layers that a pattern names.
struct Alphas {
  std::optional<double> common;
  std::vector<std::pair<std::string, double>> patterns;
  std::optional<double> of(const std::string& layer) const {
    for (const auto& [pattern, alpha] : patterns)
      if (pattern[0] == '^' ? layer == pattern.substr(1) : is_target(layer, pattern)) return alpha;
    return common;
  }
};

/// PEFT's patterns are regular expressions that match a name's end. All that people and diffusers write are names,
/// maybe from the beginning (^); a file's expression is not run here, since a hostile one may take forever.
std::string plain_pattern(std::string pattern, const std::string& where) {
  for (auto at = pattern.find("\\."); at != std::string::npos; at = pattern.find("\\.")) pattern.erase(at, 1);
  if (pattern.ends_with("$")) pattern.pop_back();
  if (pattern.empty() || pattern.find_first_of("*+?()[]{}|\\$") != std::string::npos)
    bad(where, "alpha_pattern: expected ends of layers' names, found the regular expression " + pattern.substr(0, 100) +
                   "; save the adapter again with the names spelled out");
  return pattern;
}

Alphas read_alphas(const Json& config, const std::string& prefix, const std::string& where) {
  Alphas all;
  if (!config.is_object()) bad(where, "expected PEFT's config, a JSON object");
  // use_rslora, use_dora, and whatever PEFT adds to them.
  for (const auto& [key, flag] : config.members())
    if (key.rfind(prefix + "use_", 0) == 0 && flag.is_bool() && flag.as_bool())
      bad(where, "expected a plain LoRA, found " + key.substr(prefix.size(), 100) +
                     ", which this program does not apply; merge it with PEFT first");
  if (const auto* alpha = config.find(prefix + "lora_alpha"); alpha && !alpha->is_null())
    all.common = finite(*alpha, "lora_alpha", where);
  if (const auto* pattern = config.find(prefix + "alpha_pattern"); pattern && !pattern->is_null()) {
    if (!pattern->is_object()) bad(where, "alpha_pattern: expected an object from layer to alpha");
    for (const auto& [layer, alpha] : pattern->members())
      all.patterns.emplace_back(plain_pattern(layer, where), finite(alpha, "alpha_pattern." + layer, where));
  }
  return all;
}

/// `prefixed`: a pipeline's file says whose config it is; a transformer's own has no prefix, in its keys neither.
Alphas find_alphas(const SafetensorsFile& file, const std::string& spelling, bool prefixed) {
  if (spelling == "diffusers") {
    const auto it = file.metadata().find("lora_adapter_metadata");
    if (it == file.metadata().end()) return {};
    const auto config = Json::parse(it->second, file.path() + " (lora_adapter_metadata)");
    return read_alphas(config, prefixed ? "transformer." : "", file.path());
  }
  if (spelling == "peft") {
    const auto config = (fs::path(file.path()).parent_path() / "adapter_config.json").string();
    if (fs::exists(config)) return read_alphas(Json::read(config), "", config);
  }
  return {};
}

/// The tensors of one adapter in the file.
struct Keys {
  std::string a, b, alpha;
};

std::map<std::string, Keys> gather(const SafetensorsFile& file) {
  std::map<std::string, Keys> adapters;
  for (const auto& [key, info] : file.tensors()) {
    const auto parsed = parse_lora_key(key);
    if (!parsed)
      bad(file.path(),
          "expected a plain LoRA, whose tensors are named <layer>.lora_A.weight and lora_B.weight, or lora_down, "
          "lora_up "
          "and alpha",
          key);
    auto& adapter = adapters[parsed->adapter];
    auto& slot = parsed->part == Part::A ? adapter.a : parsed->part == Part::B ? adapter.b : adapter.alpha;
    if (!slot.empty()) bad(file.path(), "expected one such tensor, found " + slot + " too", key);
    slot = key;
    const bool number = parsed->part == Part::Alpha;
    if (number ? info.bytes() != at::elementSize(info.dtype) : !at::isFloatingType(info.dtype))
      bad(file.path(), number ? "expected one number" : "expected floating-point numbers", key);
  }
  if (adapters.empty()) bad(file.path(), "expected adapters, found no tensors");
  return adapters;
}

/// A third of a fused projection's adapter. All three may share A, or each has ranks of its own: then what is outside
/// the three diagonal blocks of B is zero (sd-scripts' split_qkv), and only the block is taken.
bool is_block_diagonal(const Tensor& b) {
  if (b.size(1) % 3) return false;
  const auto out = b.size(0) / 3, rank = b.size(1) / 3;
  auto rest = b.to(at::kFloat).clone();
  for (int64_t i = 0; i < 3; ++i) rest.narrow(0, i * out, out).narrow(1, i * rank, rank).zero_();
  return rest.eq(0).all().item<bool>();
}

LoraFile::Entry third_of(const LoraFile::Entry& whole, int64_t part) {
  const auto out = whole.b.size(0) / 3;
  auto b = whole.b.narrow(0, part * out, out);
  if (!is_block_diagonal(whole.b)) return {whole.a, b.contiguous(), whole.alpha, whole.source};
  const auto rank = whole.a.size(0) / 3;
  return {whole.a.narrow(0, part * rank, rank).contiguous(), b.narrow(1, part * rank, rank).contiguous(),
          whole.alpha / 3, whole.source};
}

Tensor swap_halves(const Tensor& b) {
  const auto halves = b.chunk(2, 0);
  return at::cat({halves[1], halves[0]}, 0);
}

bool is_zero(const Tensor& t) { return t.to(at::kFloat).eq(0).all().item<bool>(); }

double number_in(const SafetensorsFile& file, const std::string& key) {
  const auto value = file.load(key).reshape({-1}).to(at::kDouble).item<double>();
  if (!std::isfinite(value)) bad(file.path(), "expected a finite number", key);
  return value;
}

}  // namespace

LoraFile read_lora(const std::string& given) {
  LoraFile lora;
  lora.path = find_file(given);
  const auto file = SafetensorsFile::open(lora.path);
  struct Named {
    LoraFile::Entry entry;
    std::vector<LoraTarget> targets;
    bool own_alpha;
  };
  std::vector<Named> all;
  for (const auto& [adapter, keys] : gather(*file)) {
    if (keys.a.empty() || keys.b.empty())
      bad(lora.path, "expected A (rank, in) and B (out, rank), found only one of them", adapter);
    lora.tensors += 2;
    const auto &a = file->tensors().at(keys.a).shape, &b = file->tensors().at(keys.b).shape;
    if (a.size() == 4 && b.size() == 4) {  // a convolution's: none of a transformer's linear layers
      lora.strangers.push_back(adapter);
      continue;
    }
    if (a.size() != 2 || b.size() != 2 || a[0] != b[1] || a[0] < 1 || a[1] < 1 || b[0] < 1)
      bad(lora.path, "expected A (rank, in) and B (out, rank) of one rank, found two ranks or no matrices", adapter);
    auto name = read_lora_name(adapter, static_cast<double>(b[0]) / static_cast<double>(a[1]));
    if (name.targets.empty()) {
      lora.strangers.push_back(adapter);
      continue;
    }
    if (lora.spelling.empty()) lora.spelling = name.spelling;
    if (name.targets.size() > 1 && b[0] % 3)
      bad(lora.path, "expected as many outputs for query, key and value, found " + std::to_string(b[0]) + " in all",
          adapter);
    const bool own_alpha = !keys.alpha.empty();
    all.push_back({{file->load(keys.a), file->load(keys.b),
                    own_alpha ? number_in(*file, keys.alpha) : static_cast<double>(a[0]), adapter},
                   std::move(name.targets),
                   own_alpha});
  }
  const auto alphas =
      find_alphas(*file, lora.spelling, !all.empty() && all.front().entry.source.rfind("transformer.", 0) == 0);
  lora.alpha_stated = true;
  for (auto& [entry, targets, own_alpha] : all) {
    for (const auto& target : targets) {
      auto one = target.form == Form::Third ? third_of(entry, target.part)
                 : target.form == Form::SwappedHalves
                     ? LoraFile::Entry{entry.a, swap_halves(entry.b), entry.alpha, entry.source}
                     : entry;
      // What write_lora() puts where a fused projection has no adapter of this part.
      if (target.form == Form::Third && is_zero(one.a) && is_zero(one.b)) continue;
      if (!own_alpha) {
        const auto said = alphas.of(target.layer);
        if (said) one.alpha = *said;
        lora.alpha_stated = lora.alpha_stated && said;
      }
      if (!lora.layers.emplace(target.layer, std::move(one)).second)
        bad(lora.path, "expected one adapter for " + target.layer + ", found two", entry.source);
    }
  }
  return lora;
}

LoraMatch match_lora(const std::vector<AdaptedLayer>& all, const LoraFile& file) {
  std::map<std::string, const Linear*> by_name;
  for (const auto& [name, layer] : all) by_name[name] = layer;
  // By the file's names, of which one may serve three layers.
  std::set<std::string> unmatched(file.strangers.begin(), file.strangers.end());
  for (const auto& [name, entry] : file.layers) {
    const auto it = by_name.find(name);
    if (it == by_name.end() || it->second->weight.size(1) != entry.a.size(1) ||
        it->second->weight.size(0) != entry.b.size(0))
      unmatched.insert(entry.source);
  }
  return {
      file.tensors, file.tensors - 2 * static_cast<int64_t>(unmatched.size()), {unmatched.begin(), unmatched.end()}};
}

void require_match(const std::vector<AdaptedLayer>& all, const LoraFile& file) {
  const auto match = match_lora(all, file);
  if (match.matched != match.tensors) {
    std::string names;
    for (const auto& name : match.unmatched) names += name + "\n";
    throw Failure(
        Code::KeysMismatch,
        "[lora] " + file.path + ": " + std::to_string(match.matched) + " of " + std::to_string(match.tensors) +
            " tensors matched; this model has no layer of that name and size for " + listing(match.unmatched) +
            (match.matched == 0 ? "; was it trained on another base model?"
                                : "; what it adapts besides the transformer cannot be applied here"),
        {{"file", file.path}, {"unmatched", names}});
  }
}

Lora adapter_of(const LoraFile::Entry& e, double strength, at::Device device) {
  const auto copied = [&](const Tensor& t) {
    return t.to(t.options().dtype(at::kFloat).device(device), /*non_blocking=*/false, /*copy=*/true);
  };
  return {copied(e.a), copied(e.b), strength * e.alpha / static_cast<double>(e.a.size(0)), true};
}

std::vector<AdaptedLayer> attach(const std::vector<AdaptedLayer>& all, const LoraFile& file, double strength) {
  require_match(all, file);
  std::vector<AdaptedLayer> adapted;
  for (const auto& [name, layer] : all) {  // in the model's order
    const auto it = file.layers.find(name);
    if (it == file.layers.end()) continue;
    layer->lora.push_back(adapter_of(it->second, strength, layer->weight.device()));
    adapted.push_back({name, layer});
  }
  return adapted;
}

namespace {

std::string number_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

/// The most frequent value; of several, the least.
template <class Value>
Value most_frequent(const std::vector<Value>& values) {
  std::map<Value, int64_t> counts;
  for (const auto& v : values) ++counts[v];
  return std::max_element(counts.begin(), counts.end(),
                          [](const auto& x, const auto& y) { return x.second < y.second; })
      ->first;
}

/// PEFT's config of these adapters, as members of a JSON object: for most layers one rank and alpha, the others by
/// name.
std::string peft_config(const std::map<std::string, LoraFile::Entry>& layers, const std::vector<std::string>& targets,
                        const std::string& prefix) {
  std::vector<int64_t> ranks;
  std::vector<double> alphas;
  for (const auto& [_, e] : layers) {
    ranks.push_back(e.a.size(0));
    alphas.push_back(e.alpha);
  }
  const auto rank = most_frequent(ranks);
  const auto alpha = most_frequent(alphas);
  const auto join = [](std::string& list, const std::string& item) { list += (list.empty() ? "" : ", ") + item; };
  std::string rank_pattern, alpha_pattern, names;
  for (const auto& [layer, e] : layers) {
    if (e.a.size(0) != rank) join(rank_pattern, json_text(layer) + ": " + std::to_string(e.a.size(0)));
    if (e.alpha != alpha) join(alpha_pattern, json_text(layer) + ": " + number_text(e.alpha));
  }
  for (const auto& target : targets) join(names, json_text(target));
  const auto key = [&](const char* name) { return "\"" + prefix + name + "\": "; };
  return key("peft_type") + "\"LORA\", " + key("r") + std::to_string(rank) + ", " + key("lora_alpha") +
         number_text(alpha) + ", " + key("rank_pattern") + "{" + rank_pattern + "}, " + key("alpha_pattern") + "{" +
         alpha_pattern + "}, " + key("target_modules") + "[" + names + "]";
}

std::vector<std::string> names_of(const std::map<std::string, LoraFile::Entry>& layers) {
  std::vector<std::string> names;
  for (const auto& [layer, _] : layers) names.push_back(layer);
  return names;
}

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

NamedTensors plain_tensors(const std::map<std::string, LoraFile::Entry>& layers, const std::string& prefix) {
  NamedTensors all;
  for (const auto& [layer, e] : layers) {
    all.emplace_back(prefix + layer + ".lora_A.weight", e.a);
    all.emplace_back(prefix + layer + ".lora_B.weight", e.b);
  }
  return all;
}

void write_diffusers(const std::string& path, const std::map<std::string, LoraFile::Entry>& layers,
                     const std::vector<std::string>& targets) {
  save_safetensors(path, plain_tensors(layers, "transformer."),
                   {{"format", "pt"},
                    {"lora_adapter_metadata", std::string("{") + peft_config(layers, targets, "transformer.") + "}"}});
}

void write_peft(const std::string& path, const std::map<std::string, LoraFile::Entry>& layers) {
  // First the config: weights without it would be read with another alpha.
  save_text((fs::path(path).parent_path() / "adapter_config.json").string(),
            std::string("{") + peft_config(layers, names_of(layers), "") +
                ", \"base_model_name_or_path\": null, \"task_type\": null, \"bias\": \"none\", \"lora_dropout\": 0.0, "
                "\"fan_in_fan_out\": false, \"inference_mode\": true, \"use_rslora\": false, \"use_dora\": false}\n");
  save_safetensors(path, plain_tensors(layers, "base_model.model."), {{"format", "pt"}});
}

/// Query, key and value in one, A's one below the other and B's in diagonal blocks; where all three have the same A, as
/// in files that came from there, A once and B's one below the other.
LoraFile::Entry fuse(const std::array<const LoraFile::Entry*, 3>& parts, const std::string& name) {
  const auto* some = *std::find_if(parts.begin(), parts.end(), [](const auto* p) { return p != nullptr; });
  const auto rank = some->a.size(0), in = some->a.size(1), out = some->b.size(0);
  for (const auto* p : parts)
    if (p && (p->a.size(0) != rank || p->alpha != some->alpha || p->a.size(1) != in || p->b.size(0) != out))
      throw Failure(
          Code::BadRequest,
          "[lora] " + name +
              ": kohya's form has query, key and value in one: expected adapters of one rank, alpha and size, "
              "found several; convert to diffusers or peft");
  if (parts[0] && parts[1] && parts[2] && at::equal(parts[0]->a, parts[1]->a) && at::equal(parts[0]->a, parts[2]->a)) {
    const auto b = at::cat({parts[0]->b, parts[1]->b, parts[2]->b}, 0);
    if (!is_block_diagonal(b)) return {some->a, b, some->alpha, name};  // else it would be taken for the other form
  }
  const auto b = at::zeros({3 * out, 3 * rank}, some->b.options());
  std::vector<Tensor> as;
  for (int64_t i = 0; i < 3; ++i) {
    const auto* p = parts[static_cast<size_t>(i)];
    as.push_back(p ? p->a : at::zeros({rank, in}, some->a.options()));
    if (p) b.narrow(0, i * out, out).narrow(1, i * rank, rank).copy_(p->b);
  }
  return {at::cat(as, 0), b, 3 * some->alpha, name};
}

void write_kohya(const std::string& path, const std::map<std::string, LoraFile::Entry>& layers) {
  std::map<std::string, std::array<const LoraFile::Entry*, 3>> fused;
  std::map<std::string, LoraFile::Entry> all;
  for (const auto& [layer, e] : layers) {
    const auto name = kohya_name(layer, static_cast<double>(e.b.size(0)) / static_cast<double>(e.a.size(1)));
    if (!name)
      throw Failure(Code::BadRequest,
                    "[lora] " + layer + ": kohya's names have none for this layer; convert to diffusers or peft");
    if (name->form == Form::Third)
      fused[name->layer][static_cast<size_t>(name->part)] = &e;
    else
      all[name->layer] = {e.a, name->form == Form::SwappedHalves ? swap_halves(e.b) : e.b, e.alpha, layer};
  }
  for (const auto& [name, parts] : fused) all[name] = fuse(parts, name);
  NamedTensors tensors;
  std::vector<int64_t> ranks;
  std::vector<double> alphas;
  for (const auto& [name, e] : all) {
    ranks.push_back(e.a.size(0));
    alphas.push_back(e.alpha);
    tensors.emplace_back("lora_unet_" + name + ".lora_down.weight", e.a);
    tensors.emplace_back("lora_unet_" + name + ".lora_up.weight", e.b);
    // Double where fp32 would round it, so that it reads back as it was.
    const auto exact = static_cast<double>(static_cast<float>(e.alpha)) == e.alpha;
    tensors.emplace_back("lora_unet_" + name + ".alpha", at::scalar_tensor(e.alpha, exact ? at::kFloat : at::kDouble));
  }
  save_safetensors(path, tensors,
                   {{"format", "pt"},
                    {"ss_network_module", "networks.lora_sd3"},
                    {"ss_network_dim", std::to_string(most_frequent(ranks))},
                    {"ss_network_alpha", number_text(most_frequent(alphas))}});
}

}  // namespace

void write_lora(const std::string& path, const LoraFile& file, LoraSpelling spelling) {
  if (!file.strangers.empty() || file.layers.empty())
    throw Failure(Code::BadRequest,
                  "[lora] " + file.path +
                      ": expected adapters of an SD3 transformer alone, found others: " + listing(file.strangers),
                  {{"file", file.path}});
  if (spelling == LoraSpelling::Diffusers) return write_diffusers(path, file.layers, names_of(file.layers));
  if (spelling == LoraSpelling::Peft) return write_peft(path, file.layers);
  return write_kohya(path, file.layers);
}

void save_lora(const std::string& path, const std::vector<AdaptedLayer>& layers, const LoraConfig& config) {
  std::map<std::string, LoraFile::Entry> entries;
  for (const auto& [name, layer] : layers) {
    if (layer->lora.size() != 1)
      throw Failure(Code::Internal, "[lora] " + name + " has not just the one adapter to save");
    const auto& l = layer->lora.front();
    const auto rank = static_cast<double>(l.a.size(0));
    // An adapter that was read has its own rank and alpha; the config's is exact where it is the one.
    const auto alpha = l.scale == config.alpha / rank ? config.alpha : l.scale * rank;
    entries[name] = {l.a, l.b, alpha, name};
  }
  write_diffusers(path, entries, config.targets);
}

}  // namespace drm
