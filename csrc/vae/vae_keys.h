// Names of the VAE's tensors in files.
#pragma once
#include "tensor_io/key_names.h"

namespace drm {

/// Before the VAE's keys in a single file of SD3's authors.
inline constexpr const char* kSingleFileVae = "first_stage_model.";

/// diffusers' names, also those of its older versions, or LDM's (`decoder.up.*`, bare or below `first_stage_model.` or
/// `vae.`), whose 1x1 convolutions of the attention become matrices.
KeyReading vae_keys(const std::vector<std::string>& names);

}  // namespace drm
