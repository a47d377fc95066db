// Adapter files: diffusers' pytorch_lora_weights.safetensors, PEFT's adapter_model.safetensors with
// adapter_config.json, kohya's (sd-scripts), which name the layers as SD3's authors do and fuse query, key and value,
// and what others make of these.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "lora/adapter.h"
#include "tensor_io/json.h"
#include "tensor_io/safetensors.h"

namespace drm {

struct LoraFile {
  struct Entry {
    at::Tensor a, b;  // (rank, in), (out, rank), with the dtype of the file, on the CPU
    double alpha = 0;
    std::string source;  // the file's own name; a fused one serves three layers
  };
  std::map<std::string, Entry> layers;      // by the transformer's layer name, e.g. transformer_blocks.0.attn.to_q
  std::vector<std::string> unmatched_keys;  // the file's names of adapters of other things, such as text encoders
  int64_t tensors = 0;                      // A's and B's in the file, those of unmatched keys included
  std::string spelling;                     // "diffusers", "peft", "kohya", "lycoris", ...; "" when no key matches
  bool alpha_stated = false;  // false: alpha = rank is assumed somewhere, as diffusers does; worth a warning
  std::string path;
};

/// `path`: the .safetensors file (PEFT's config is looked for beside it) or the folder that holds it.
/// Throws Failure(BadFile) when it is no plain LoRA, was trained beside a changed base (PiSSA, OLoRA, ...), has numbers
/// that are not finite, an A without a B, or what says the alphas cannot be understood.
LoraFile read_lora(const std::string& path);
/// The same of an open file and PEFT's config, if there is one, which messages call `beside`.
LoraFile read_lora(const SafetensorsFile& file, const Json* config, const std::string& beside);

/// The one config of all of a file's layers, to go on training from. `blocks`: what the names of a model's blocks begin
/// with, whose layers one target names in all of them. Throws Failure(BadFile) where ranks or alphas differ.
LoraConfig config_of(const LoraFile& file, const std::string& blocks);

/// How many of a file's tensors have their layer, with matching sizes, among these.
struct LoraMatch {
  int64_t tensors = 0, matched = 0;
  std::vector<std::string> unmatched;  // names of the file
};
LoraMatch match_lora(const std::vector<AdaptedLayer>& all_linear_layers, const LoraFile& file);
/// All of them, else Failure(KeysMismatch) that counts, and lists those that do not match.
void require_match(const std::vector<AdaptedLayer>& all_linear_layers, const LoraFile& file);

/// Puts the file's adapters on a model's linear layers, times `strength`, beside those that they have already. Every
/// adapter must find its layer, as require_match() says, else nothing is changed. Returns the adapted layers.
template <class Model>
std::vector<AdaptedLayer> apply_lora(Model& m, const LoraFile& file, double strength = 1);

/// Writes diffusers' form with the alpha in its `lora_adapter_metadata`, so that Python applies the same strength.
/// Throws Failure(Disk).
void save_lora(const std::string& path, const std::vector<AdaptedLayer>& layers, const LoraConfig& config);

enum class LoraSpelling { Diffusers, Peft, Kohya };
/// Writes the file's adapters under other names, their values unchanged; PEFT's adapter_config.json goes into the
/// folder of `path`. Reading that back gives the same adapters. Throws Failure(Disk), or Failure(BadRequest) for what a
/// spelling cannot say: unmatched keys, and in kohya's layers of one fused projection with different ranks or alphas.
void write_lora(const std::string& path, const LoraFile& file, LoraSpelling spelling);

/// The adapter in memory: fp32 copies, since layers of a fused projection share their A in the file.
Lora adapter_of(const LoraFile::Entry& entry, double strength, at::Device device);
std::vector<AdaptedLayer> attach(const std::vector<AdaptedLayer>& all_linear_layers, const LoraFile& file,
                                 double strength);
/// All linear layers of a model, in the visitor's order.
template <class Model>
std::vector<AdaptedLayer> linear_layers(Model& m) {
  std::vector<AdaptedLayer> all;
  each(m, [&](const std::string& name, auto& leaf) {
    if constexpr (std::is_same_v<std::decay_t<decltype(leaf)>, Linear>) all.push_back({name, &leaf});
  });
  return all;
}
template <class Model>
std::vector<AdaptedLayer> apply_lora(Model& m, const LoraFile& file, double strength) {
  return attach(linear_layers(m), file, strength);
}

}  // namespace drm
