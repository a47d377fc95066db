// How SD3 assembles what three text encoders say about a prompt (reference: diffusers' encode_prompt).
#pragma once
#include "models/velocity_model.h"

namespace drm {

/// clip_l and clip_g states concatenate along features, zeros on the right to `joint_width`, then T5 along tokens.
/// `t5` (B, L, joint_width) may be undefined: zeros (B, t5_length, joint_width) stand in, as in the reference.
/// Throws Failure(BadConfig) when the widths do not fit together.
PromptEmbeds assemble_prompt(const ClipOutput& clip_l, const ClipOutput& clip_g, const Tensor& t5, int64_t t5_length,
                             int64_t joint_width);

}  // namespace drm
