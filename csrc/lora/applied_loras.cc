#include "lora/applied_loras.h"

#include <ATen/ATen.h>

#include <cmath>

namespace drm {

std::vector<LoraFile> read_loras(VelocityModel& planned, const std::vector<LoraUse>& uses) {
  std::vector<LoraFile> files;
  for (const auto& use : uses) {
    if (!std::isfinite(static_cast<float>(use.strength)))
      throw Failure(Code::BadRequest, "[lora] " + use.file + ": expected a finite strength");
    files.push_back(read_lora(use.file));
    require_match(linear_layers(planned), files.back());
  }
  return files;
}

void use_loras(VelocityModel& m, const std::vector<LoraFile>& files, const std::vector<LoraUse>& uses) {
  for (size_t i = 0; i < files.size(); ++i) apply_lora(m, files[i], uses[i].strength);
  // Into fp32 weights adapters are merged: the same numbers up to fp32's rounding, and no passes of their own. Beside
  // 16-bit weights they stay: rounding W + delta to W's grid would lose most of a small delta, and the image would
  // not be that of the policy that was trained, whose adapter was fp32 too.
  auto merged = linear_layers(m);
  std::erase_if(merged, [](const AdaptedLayer& l) { return l.layer->weight.scalar_type() != at::kFloat; });
  merge_lora(merged);
}

std::vector<LoraInfo> describe(const std::vector<LoraFile>& files, const std::vector<LoraUse>& uses) {
  std::vector<LoraInfo> all;
  for (size_t i = 0; i < files.size(); ++i)
    all.push_back({files[i].path, files[i].spelling, uses[i].strength, files[i].tensors,
                   static_cast<int64_t>(files[i].layers.size()), files[i].alpha_stated});
  return all;
}

}  // namespace drm
