// Names of SD3's tensors as its authors have them: in the single files of the releases and in adapters made for these.
#pragma once
#include <optional>

#include "models/original_layers.h"
#include "tensor_io/key_names.h"

namespace drm {

/// The keys of a single file, if they are: fused qkv, and (shift, scale) halves where diffusers stores (scale, shift).
std::optional<KeyReading> read_original_sd3_keys(const std::vector<std::string>& names);

/// Linear layers of that naming.
const OriginalLayers& sd3_original_layers();

}  // namespace drm
