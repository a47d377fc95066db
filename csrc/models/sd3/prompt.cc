#include "models/sd3/prompt.h"

#include <ATen/ATen.h>

#include "common/failure.h"

namespace drm {

PromptEmbeds assemble_prompt(const ClipOutput& clip_l, const ClipOutput& clip_g, const Tensor& t5, int64_t t5_length,
                             int64_t joint_width) {
  auto clip = at::cat({clip_l.penultimate, clip_g.penultimate}, -1);
  if (clip.size(-1) > joint_width)
    throw Failure(Code::BadConfig, "[prompt] CLIP-L and CLIP-G states are " + std::to_string(clip.size(-1)) +
                                       " wide together: expected at most the transformer's joint_attention_dim " +
                                       std::to_string(joint_width) + "; these text encoders belong to another model");
  if (t5.defined() && t5.size(-1) != joint_width)
    throw Failure(Code::BadConfig, "[prompt] T5 states are " + std::to_string(t5.size(-1)) +
                                       " wide: expected the transformer's joint_attention_dim " +
                                       std::to_string(joint_width) + "; this T5 belongs to another model");
  clip = at::constant_pad_nd(clip, {0, joint_width - clip.size(-1)});
  const auto tail = t5.defined() ? t5 : at::zeros({clip.size(0), t5_length, joint_width}, clip.options());
  return {at::cat({clip, tail.to(clip.scalar_type())}, 1), at::cat({clip_l.pooled, clip_g.pooled}, -1)};
}

}  // namespace drm
