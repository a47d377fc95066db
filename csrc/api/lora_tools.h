// Adapter files without a pipeline: told about, renamed, merged into a transformer.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/control.h"
#include "common/model_source.h"
#include "lora/lora_info.h"

namespace drm {

/// What an adapter file holds, and how it fits a model.
struct LoraInspection {
  struct Layer {
    std::string name, dtype;
    int64_t rank = 0, in = 0, out = 0;
    double alpha = 0;
    double norm_a = 0, norm_b = 0, norm_delta = 0;  // Frobenius; delta: alpha / rank * B A
  };
  struct Match {
    int64_t tensors = 0, matched = 0;
    std::vector<std::string> unmatched;  // names of the file
  };
  std::string file, spelling;               // spelling: "" when nothing in it adapts an SD3 transformer
  int64_t tensors = 0;                      // A's and B's in the file
  bool alpha_stated = false;                // false: the file does not say, and alpha = rank is assumed
  std::vector<std::string> unmatched_keys;  // the file's names of what it adapts besides the transformer
  std::vector<Layer> layers;
  std::optional<Match> match;  // with a model
};
/// `transformer`: whose config or shapes are looked at, none of its weights; absent: none. Throws Failure(BadFile,
/// BadConfig).
LoraInspection inspect_lora(const std::string& path, const ComponentFiles& transformer);

/// Writes the same values under the names of "diffusers", "peft" (whose adapter_config.json goes beside) or "kohya".
/// Throws Failure(BadFile, Disk, or BadRequest for what the other names cannot say).
void convert_lora(const std::string& file, const std::string& to, const std::string& out);

struct LoraMerge {
  ComponentFiles transformer;
  std::vector<LoraUse> loras;
  std::string out;    // .safetensors
  std::string dtype;  // "fp32", "fp16", "bf16", or "" for that of each weight in its file
};
/// Adds the adapters to the transformer's weights in fp32, rounds once, and writes all of its tensors by diffusers'
/// names. Reports phase "merge" in tensors. Throws Failure(BadFile, BadConfig, KeysMismatch, Disk, Cancelled).
std::vector<LoraInfo> merge_loras(const LoraMerge& request, Control& control);

}  // namespace drm
