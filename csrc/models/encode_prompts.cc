#include "models/encode_prompts.h"

#include <ATen/ATen.h>

namespace drm {

bool reads_pooled_of(const VelocityModelInfo& model, const TextEncoders& encoders) {
  return model.pooled_width == 0 || encoders.pooled_width() == model.pooled_width;
}

PromptEmbeds encode_prompts(const VelocityModel& model, const TextEncoders& encoders,
                            const std::vector<PromptTokens>& prompts, int64_t t5_length, at::Device device,
                            const Control& control) {
  std::vector<Tensor> sequences, pooled;
  encode_prompts(encoders, prompts, t5_length, device, control, [&](const EncodedPrompts& some) {
    const auto embeds = model.assemble(some);
    if (embeds.sequence.defined()) sequences.push_back(embeds.sequence);
    if (embeds.pooled.defined()) pooled.push_back(embeds.pooled);
  });
  return {sequences.empty() ? Tensor() : at::cat(sequences, 0), pooled.empty() ? Tensor() : at::cat(pooled, 0)};
}

}  // namespace drm
