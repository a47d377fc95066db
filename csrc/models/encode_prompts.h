// Prompts as a base reads them.
#pragma once
#include "models/velocity_model.h"
#include "text/text_encoders.h"

namespace drm {

/// Whether the encoders' pooled embeds are what the model reads, or it reads none.
bool reads_pooled_of(const VelocityModelInfo& model, const TextEncoders& encoders);

/// Embeds of all prompts. `t5_length`: T5's tokens, also of the zeros that stand in for it. Throws as the function of
/// that name in text_encoders.h, and as VelocityModel::assemble().
PromptEmbeds encode_prompts(const VelocityModel& model, const TextEncoders& encoders,
                            const std::vector<PromptTokens>& prompts, int64_t t5_length, at::Device device,
                            const Control& control);

}  // namespace drm
