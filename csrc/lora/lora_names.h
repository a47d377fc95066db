// How adapter files call the layers that they adapt, translated to the transformer's names and, for kohya's, back.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "tensor_io/key_names.h"

namespace drm {

/// Which tensor of an adapter a key names.
struct LoraKey {
  enum class Part { A, B, Alpha } part;
  std::string adapter;  // the rest of the key, prefix included: "transformer.transformer_blocks.0.attn.to_q"
};
/// lora_A/lora_B with or without an adapter's name (PEFT, diffusers), lora_down/lora_up/alpha (kohya, LyCORIS),
/// lora.down/lora.up and processor.to_q_lora.down (older diffusers). Nothing for any other key.
std::optional<LoraKey> parse_lora_key(const std::string& key);
/// What kind of adapter that is no plain LoRA has such a tensor: "LoHa", "DoRA", ...; "" when unknown.
std::string other_kind(const std::string& key);

/// A layer, and which rows of the adapter's B are its own.
struct LoraTarget {
  std::string layer;
  Source::Form form = Source::Form::Whole;  // Whole, Third or SwappedHalves
  int64_t part = 0;                         // of Third: 0 query, 1 key, 2 value
};
struct LoraName {
  std::string spelling;             // "diffusers", "peft", "kohya", "lycoris", ...; "" when unknown
  std::vector<LoraTarget> targets;  // empty: not the transformer's (a text encoder's, another architecture's)
};
/// Of any base that models/registry.h knows. `outputs` per input of the adapted layer: see OriginalLayers.
LoraName read_lora_name(const std::string& adapter, double outputs);

/// kohya's name of a layer without its prefix, "joint_blocks_0_x_block_attn_qkv", and which part of it the layer is.
/// Nothing for a layer that no base's original naming has.
std::optional<LoraTarget> kohya_name(const std::string& layer, double outputs);

}  // namespace drm
