// Names of the text encoders' tensors, and of a CLIP's image tower, in files.
#pragma once
#include "tensor_io/key_names.h"

namespace drm {

/// Before an encoder's keys in a single file of SD3's authors; `which`: "clip_l", "clip_g", "t5xxl".
std::string single_file_encoder(const std::string& which);

/// transformers' names, those of a single file (whose encoder `which` names), or OpenAI's, which open_clip kept: fused
/// qkv, projections as (width, joint).
KeyReader clip_keys(const std::string& which = "");
/// transformers' names or those of a single file.
KeyReader t5_keys(const std::string& which = "");

}  // namespace drm
