#include "lora/lora_file.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <set>

#include "lora/lora_names.h"
#include "lora/lora_parts.h"
#include "lora/peft_config.h"
#include "tensor_io/json.h"

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

constexpr const char* kPeftName = "adapter_model.safetensors";
constexpr size_t kLongestName = 500;  // of an adapter; what reads names may take the square of their length

bool is_there(const fs::path& path) {
  std::error_code none;  // whatever keeps it from being seen, opening it will say
  return fs::exists(path, none);
}

std::string find_file(const std::string& path) {
  std::error_code none;
  if (!fs::is_directory(path, none)) return path;
  for (const char* name : {"pytorch_lora_weights.safetensors", kPeftName})
    if (is_there(fs::path(path) / name)) return (fs::path(path) / name).string();
  bad(path, "expected pytorch_lora_weights.safetensors or adapter_model.safetensors in this folder, found neither");
}

/// The tensors of one adapter in the file.
struct AdapterKeys {
  std::string a, b, alpha;
};

int64_t count_of(const TensorInfo& info) {
  int64_t count = 1;
  for (const auto side : info.shape) count *= side;
  return count;
}

std::map<std::string, AdapterKeys> gather(const SafetensorsFile& file) {
  std::map<std::string, AdapterKeys> adapters;
  for (const auto& [key, info] : file.tensors()) {
    const auto found = "found " + info.dtype_name();
    const bool numbers = at::isFloatingType(info.dtype);
    const auto parsed = parse_lora_key(key);
    if (!parsed) {
      const auto kind = other_kind(key);
      if (!kind.empty())
        bad(file.path(),
            "expected a plain LoRA, found " + kind +
                ", which this program does not apply; merge it into the base with the program that trained it",
            key);
      if (!numbers) continue;  // nothing that changes a weight: a step's number, ids
      bad(file.path(),
          "expected a plain LoRA, whose tensors are named <layer>.lora_A.weight and lora_B.weight, or lora_down, "
          "lora_up and alpha",
          key);
    }
    auto& adapter = adapters[parsed->adapter];
    auto& slot = parsed->part == Part::A ? adapter.a : parsed->part == Part::B ? adapter.b : adapter.alpha;
    if (!slot.empty()) bad(file.path(), "expected one such tensor, found " + slot.substr(0, 200) + " too", key);
    slot = key;
    const bool known = info.dtype != at::ScalarType::Undefined;
    if (parsed->part == Part::Alpha ? !known || count_of(info) != 1 : !numbers)
      bad(file.path(),
          (parsed->part == Part::Alpha ? "expected one number, " : "expected floating-point numbers, ") + found, key);
  }
  if (adapters.empty()) bad(file.path(), "expected adapters, found none");
  return adapters;
}

LoraFile::Entry third_of(const LoraFile::Entry& whole, int64_t part) {
  const auto out = whole.b.size(0) / 3;
  auto b = whole.b.narrow(0, part * out, out);
  if (!is_block_diagonal(whole.b)) return {whole.a, b.contiguous(), whole.alpha, whole.source};
  const auto rank = whole.a.size(0) / 3;
  return {whole.a.narrow(0, part * rank, rank).contiguous(), b.narrow(1, part * rank, rank).contiguous(),
          whole.alpha / 3, whole.source};
}

bool is_zero(const Tensor& t) { return t.to(at::kFloat).eq(0).all().item<bool>(); }

double number_in(const SafetensorsFile& file, const std::string& key) {
  const auto value = file.load(key).reshape({-1}).to(at::kDouble).item<double>();
  if (!std::isfinite(value)) bad(file.path(), "expected a finite number", key);
  return value;
}

double largest(const Tensor& t) { return t.to(at::kFloat).abs().max().item<double>(); }  // NaN, where there is one

Tensor finite_tensor(const SafetensorsFile& file, const std::string& key) {
  const auto t = file.load(key);
  if (!std::isfinite(largest(t)))
    bad(file.path(),
        "expected finite numbers, found NaN or infinity; its training diverged or the file is damaged: use an earlier "
        "checkpoint of it",
        key);
  return t;
}

/// What it adds to a weight is at most this many times finite numbers: fp32 must hold it.
void require_applicable(const SafetensorsFile& file, const LoraFile::Entry& e) {
  if (!(std::abs(e.alpha) * largest(e.a) * largest(e.b) <= std::numeric_limits<float>::max()))
    bad(file.path(),
        "expected a change of the weight that fp32 holds, found alpha " + std::to_string(e.alpha) +
            " and tensors too large for it",
        e.source);
}

/// PEFT's by its name or those of its tensors.
bool is_peft(const SafetensorsFile& file) {
  const std::string prefix = "base_model.model.";
  const auto it = file.tensors().lower_bound(prefix);
  return fs::path(file.path()).filename() == kPeftName || (it != file.tensors().end() && it->first.starts_with(prefix));
}

bool is_alone(const fs::path& file) {
  std::error_code none;
  int64_t files = 0;
  for (fs::directory_iterator it(file.parent_path().empty() ? "." : file.parent_path(), none), end; !none && it != end;
       it.increment(none))
    files += it->path().extension() == ".safetensors";
  return files == 1;
}

/// All that says something of the adapters: PEFT's config beside, diffusers' in the metadata, and any other metadata
/// that tells how they were initialised.
std::vector<PeftConfig> configs_of(const SafetensorsFile& file, const Json* beside, const std::string& where) {
  std::vector<PeftConfig> configs;
  if (beside) configs.emplace_back(*beside, where);
  if (!is_peft(file)) configs.clear();  // diffusers takes no alphas from there
  for (const auto& [key, text] : file.metadata())
    if (key == "lora_adapter_metadata") {
      const auto name = file.path() + " (lora_adapter_metadata)";
      configs.emplace_back(Json::parse(text, name), name);
    } else {
      require_unchanged_base(key + "=" + text, file.path() + " (metadata)");
    }
  return configs;
}

}  // namespace

LoraFile read_lora(const std::string& path) {
  const auto found = find_file(path);
  const auto file = SafetensorsFile::open(found);
  const auto beside = (fs::path(found).parent_path() / "adapter_config.json").string();
  std::optional<Json> config;
  // It may be another file's where there are several.
  if (is_there(beside) && (is_peft(*file) || is_alone(found))) config = Json::read(beside);
  return read_lora(*file, config ? &*config : nullptr, beside);
}

LoraFile read_lora(const SafetensorsFile& file, const Json* config, const std::string& beside) {
  LoraFile lora;
  lora.path = file.path();
  struct Named {
    LoraFile::Entry entry;
    std::vector<LoraTarget> targets;
    bool own_alpha;
  };
  std::vector<Named> all;
  for (const auto& [adapter, keys] : gather(file)) {
    if (keys.a.empty() || keys.b.empty())
      bad(lora.path, "expected A (rank, in) and B (out, rank), found only one of them", adapter);
    lora.tensors += 2;
    const auto &a = file.tensors().at(keys.a).shape, &b = file.tensors().at(keys.b).shape;
    // A convolution's: none of a transformer's linear layers, whose names are never that long.
    if ((a.size() == 4 && b.size() == 4) || adapter.size() > kLongestName) {
      lora.unmatched_keys.push_back(adapter);
      continue;
    }
    if (a.size() != 2 || b.size() != 2 || a[0] != b[1] || a[0] < 1 || a[1] < 1 || b[0] < 1)
      bad(lora.path, "expected A (rank, in) and B (out, rank) of one rank, found two ranks or no matrices", adapter);
    auto name = read_lora_name(adapter, static_cast<double>(b[0]) / static_cast<double>(a[1]));
    if (name.targets.empty()) {
      lora.unmatched_keys.push_back(adapter);
      continue;
    }
    if (lora.spelling.empty()) lora.spelling = name.spelling;
    if (name.targets.size() > 1 && b[0] % 3)
      bad(lora.path, "expected as many outputs for query, key and value, found " + std::to_string(b[0]) + " in all",
          adapter);
    if (name.targets.front().form == Form::SwappedHalves && b[0] % 2)
      bad(lora.path, "expected as many outputs for scale and shift, found " + std::to_string(b[0]) + " in all",
          adapter);
    const bool own_alpha = !keys.alpha.empty();
    all.push_back({{finite_tensor(file, keys.a), finite_tensor(file, keys.b),
                    own_alpha ? number_in(file, keys.alpha) : static_cast<double>(a[0]), adapter},
                   std::move(name.targets),
                   own_alpha});
  }
  const auto configs = configs_of(file, config, beside);
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
        std::optional<double> said;
        for (const auto& c : configs)
          if (!said) said = c.alpha_of(target.layer);
        if (said) one.alpha = *said;
        lora.alpha_stated = lora.alpha_stated && said;
      }
      require_applicable(file, one);
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
  std::set<std::string> unmatched(file.unmatched_keys.begin(), file.unmatched_keys.end());
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
            (file.layers.empty()  ? "; no name there is one that an SD3 transformer's adapters have: is it of another "
                                    "architecture, or in a spelling that docs/lora.md does not list?"
             : match.matched == 0 ? "; was it trained on another base model?"
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

LoraConfig config_of(const LoraFile& file, const std::string& blocks) {
  LoraConfig c;
  c.targets.clear();
  std::set<std::string> targets;
  for (const auto& [name, entry] : file.layers) {
    if (targets.empty()) {
      c.rank = entry.a.size(0);
      c.alpha = entry.alpha;
    } else if (c.rank != entry.a.size(0) || c.alpha != entry.alpha) {
      throw Failure(Code::BadFile,
                    "[lora] " + file.path + ": expected one rank and alpha to go on from, found rank " +
                        std::to_string(c.rank) + " and rank " + std::to_string(entry.a.size(0)) + " (" + name +
                        "); merge it into the base and begin a new adapter",
                    {{"file", file.path}, {"key", name}});
    }
    const auto block = name.find('.', blocks.size());
    targets.insert(name.starts_with(blocks) && block != std::string::npos ? name.substr(block + 1) : name);
  }
  c.targets.assign(targets.begin(), targets.end());
  return c;
}

}  // namespace drm
