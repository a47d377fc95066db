// What the text encoders say of some prompts, before a base puts it together.
#pragma once
#include "text/clip.h"

namespace drm {

/// B rows each.
struct EncodedPrompts {
  ClipOutput clip_l, clip_g;
  Tensor t5;              // (B, L, D), or undefined where the base has none
  int64_t t5_length = 0;  // tokens that stand in for T5's where it is undefined
};

}  // namespace drm
