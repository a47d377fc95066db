#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

#include "lora/lora_file.h"
#include "lora/lora_names.h"
#include "lora/lora_parts.h"
#include "tensor_io/json.h"
#include "tensor_io/safetensors.h"

namespace drm {

namespace fs = std::filesystem;
using at::Tensor;
using Form = Source::Form;

namespace {

std::string number_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

using Entries = std::map<std::string, LoraFile::Entry>;

/// The most frequent value; of several, the least.
template <class Value>
Value most_frequent(const std::vector<Value>& values) {
  std::map<Value, int64_t> counts;
  for (const auto& v : values) ++counts[v];
  return std::max_element(counts.begin(), counts.end(),
                          [](const auto& x, const auto& y) { return x.second < y.second; })
      ->first;
}

/// Rank and alpha of most layers, each for itself.
std::pair<int64_t, double> usual_rank_and_alpha(const Entries& layers) {
  std::vector<int64_t> ranks;
  std::vector<double> alphas;
  for (const auto& [_, e] : layers) {
    ranks.push_back(e.a.size(0));
    alphas.push_back(e.alpha);
  }
  return {most_frequent(ranks), most_frequent(alphas)};
}

/// PEFT's config of these adapters, as members of a JSON object: for most layers one rank and alpha, the others by
/// name.
std::string peft_config(const Entries& layers, const std::vector<std::string>& targets, const std::string& prefix) {
  const auto [rank, alpha] = usual_rank_and_alpha(layers);
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

std::vector<std::string> names_of(const Entries& layers) {
  std::vector<std::string> names;
  for (const auto& [layer, _] : layers) names.push_back(layer);
  return names;
}

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

NamedTensors plain_tensors(const Entries& layers, const std::string& prefix) {
  NamedTensors all;
  for (const auto& [layer, e] : layers) {
    all.emplace_back(prefix + layer + ".lora_A.weight", e.a);
    all.emplace_back(prefix + layer + ".lora_B.weight", e.b);
  }
  return all;
}

void write_diffusers(const std::string& path, const Entries& layers, const std::vector<std::string>& targets) {
  save_safetensors(path, plain_tensors(layers, "transformer."),
                   {{"format", "pt"},
                    {"lora_adapter_metadata", std::string("{") + peft_config(layers, targets, "transformer.") + "}"}});
}

void write_peft(const std::string& path, const Entries& layers) {
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

void write_kohya(const std::string& path, const Entries& layers) {
  std::map<std::string, std::array<const LoraFile::Entry*, 3>> fused;
  Entries all;
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
  for (const auto& [name, e] : all) {
    tensors.emplace_back("lora_unet_" + name + ".lora_down.weight", e.a);
    tensors.emplace_back("lora_unet_" + name + ".lora_up.weight", e.b);
    // Double where fp32 would round it, so that it reads back as it was.
    const auto exact = static_cast<double>(static_cast<float>(e.alpha)) == e.alpha;
    tensors.emplace_back("lora_unet_" + name + ".alpha", at::scalar_tensor(e.alpha, exact ? at::kFloat : at::kDouble));
  }
  const auto [rank, alpha] = usual_rank_and_alpha(all);
  save_safetensors(path, tensors,
                   {{"format", "pt"},
                    {"ss_network_module", "networks.lora_sd3"},
                    {"ss_network_dim", std::to_string(rank)},
                    {"ss_network_alpha", number_text(alpha)}});
}

}  // namespace

void write_lora(const std::string& path, const LoraFile& file, LoraSpelling spelling) {
  if (!file.unmatched_keys.empty() || file.layers.empty())
    throw Failure(Code::BadRequest,
                  "[lora] " + file.path +
                      ": expected adapters of an SD3 transformer alone, found others: " + listing(file.unmatched_keys),
                  {{"file", file.path}});
  if (spelling == LoraSpelling::Diffusers) return write_diffusers(path, file.layers, names_of(file.layers));
  if (spelling == LoraSpelling::Peft) return write_peft(path, file.layers);
  return write_kohya(path, file.layers);
}

void save_lora(const std::string& path, const std::vector<AdaptedLayer>& layers, const LoraConfig& config) {
  Entries entries;
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
