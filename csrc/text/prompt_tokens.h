// What a prompt is before the text encoders read it, as plain data.
#pragma once
#include <cstdint>
#include <vector>

namespace drm {

/// Token ids of one prompt, padded as the reference does: both CLIPs to the first tokenizer's model_max_length (77 in
/// the releases), the same for all prompts of a request; T5 to max_sequence_length.
struct PromptTokens {
  std::vector<int64_t> clip_l, clip_g, t5;  // t5 may be empty when the pipeline has no T5
};

}  // namespace drm
