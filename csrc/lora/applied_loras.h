// Adapter files on a pipeline's transformer.
#pragma once
#include <vector>

#include "common/model_source.h"
#include "lora/lora_file.h"
#include "lora/lora_info.h"
#include "models/velocity_model.h"

namespace drm {

/// Reads the files and checks that each fits this model, of which nothing but the plan is needed. Throws
/// Failure(BadFile, KeysMismatch, or BadRequest for a strength that is no finite number).
std::vector<LoraFile> read_loras(VelocityModel& planned, const std::vector<LoraUse>& uses);
/// Puts them on the loaded model, for sampling.
void use_loras(VelocityModel& m, const std::vector<LoraFile>& files, const std::vector<LoraUse>& uses);

std::vector<LoraInfo> describe(const std::vector<LoraFile>& files, const std::vector<LoraUse>& uses);

}  // namespace drm
