// What the config of a PEFT adapter says that its tensors do not: the alphas, and whether it is a plain LoRA of the
// base's own weights.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "tensor_io/json.h"

namespace drm {

class PeftConfig {
 public:
  /// `config`: adapter_config.json, or the lora_adapter_metadata of diffusers, which puts a component's name before
  /// every key. Throws Failure(BadFile) when it cannot be understood, or for an adapter that is no plain LoRA, or one
  /// that was trained beside a changed base (PiSSA, OLoRA, ...).
  PeftConfig(const Json& config, const std::string& where);
  /// Of a layer of the transformer; nothing where the config does not say.
  std::optional<double> alpha_of(const std::string& layer) const;

 private:
  struct Pattern {
    size_t order;  // in the config: the first one that fits counts
    double alpha;
  };
  std::optional<double> common_;
  std::map<std::string, Pattern, std::less<>> whole_, endings_;  // by names of layers, and by what they end in
};

/// The same of metadata beside that: any text in which a program kept its settings. Refuses what says of
/// init_lora_weights that the base was changed.
void require_unchanged_base(const std::string& text, const std::string& where);

}  // namespace drm
