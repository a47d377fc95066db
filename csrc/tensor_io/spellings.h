// Foreign key names, translated to diffusers' (transformers' for text encoders). Nothing outside tensor_io knows them.
#pragma once
#include <string>
#include <vector>

#include "tensor_io/weights.h"

namespace drm {

/// How a tensor of ours is made of one in the file.
struct Source {
  std::string key;  // in the file
  enum class Form { Whole, Third, SwappedHalves, Squeezed, Transposed } form = Form::Whole;
  int64_t part = 0;  // Third: 0 query, 1 key, 2 value, along the first axis
};
struct Translated {
  std::string key;  // ours
  Source source;
};

/// Original single-file names of SD3 and SD3.5 below `prefix` (for example "model.diffusion_model."): fused qkv, and
/// (shift, scale) halves where diffusers stores (scale, shift). Empty for a key that is none.
std::vector<Translated> translate_sd3(const std::string& key, const std::string& prefix, int64_t last_block);
/// Number of joint blocks below `prefix` in these keys.
int64_t count_sd3_blocks(const std::vector<std::string>& keys, const std::string& prefix);

/// LDM names of the VAE below `prefix` ("first_stage_model." or nothing); 1x1 convolutions of the attention become
/// matrices. `levels` is the number of resolutions (the decoder counts them from the other end).
std::vector<Translated> translate_ldm_vae(const std::string& key, const std::string& prefix, int64_t levels);
int64_t count_ldm_levels(const std::vector<std::string>& keys, const std::string& prefix);

/// Both towers of CLIP under OpenAI's names, which open_clip kept: fused qkv, projections as (width, joint).
std::vector<Translated> translate_open_clip(const std::string& key);

}  // namespace drm
