// CLIP text encoder with projection (Radford et al. 2021; reference: transformers' CLIPTextModelWithProjection).
// Shapes: B batch, L tokens, D width, P projection width.
#pragma once
#include <string>
#include <vector>

#include "text/clip_layer.h"

namespace drm {

struct ClipConfig : ClipTowerConfig {
  int64_t vocab_size = 49408, max_position_embeddings = 77, eos_token_id = 2;
};

/// Reads a transformers config.json (also one with a nested text_config). Throws Failure(BadConfig | BadFile).
ClipConfig read_clip_config(const std::string& path);
ClipConfig read_clip_config(const ConfigReader& text);
/// CLIP-L or CLIP-G told by their widths, from a file without config. Throws Failure(BadFile).
ClipConfig infer_clip_config(const Weights& weights);

struct Clip {
  ClipConfig config;
  Table tokens, positions;
  std::vector<ClipLayer> layers;
  Norm final_norm;
  Linear projection;  // no bias
};

Clip make_clip(const ClipConfig& config);
void load_clip(Clip& c, const Weights& weights, at::ScalarType dtype, at::Device device,
               const std::function<void(uint64_t, uint64_t)>& progress = {});

struct ClipOutput {
  Tensor penultimate;  // (B, L, D) output of the next-to-last layer, without the final norm: what SD3 reads
  Tensor last;         // (B, L, D) last layer, final norm applied
  Tensor pooled;       // (B, P) projected state of the end token
};

/// ids (B, L) int64, causal attention without padding mask (padding is attended to, as SD3's pipeline does).
/// The pooled position follows the config: eos_token_id 2 means "the largest id, the first on ties" (a legacy value
/// that SD3's encoders carry), anything else the first occurrence of that id.
/// Throws Failure(BadRequest) for ids outside the vocabulary or too many tokens.
/// Observer names: "hidden_states.<i>" (0 = embeddings).
ClipOutput clip_forward(const Clip& c, const Tensor& ids, const Observer* observer = nullptr);

/// The text transformer without its projection, which a two-tower model names last.
template <class V>
void each_text_model(Clip& c, V&& visit) {
  const std::string text = "text_model.";
  visit(text + "embeddings.token_embedding", c.tokens);
  visit(text + "embeddings.position_embedding", c.positions);
  each(c.layers, text, visit);
  visit(text + "final_layer_norm", c.final_norm);
}

template <class V>
void each(Clip& c, V&& visit) {
  each_text_model(c, visit);
  visit("text_projection", c.projection);
}

}  // namespace drm
