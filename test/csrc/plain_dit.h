// A second kind of base model, which only the tests have: a plain DiT (Peebles and Xie 2023) that attends over image
// and text tokens together, with one set of weights for both, reads the states of CLIP-L alone and no pooled embeds. It
// shows that a base is a folder and a line: nothing outside of this file knows it. Shapes: B batch, C latent channels,
// H W latent size, L tokens, D width.
#pragma once
#include "models/registry.h"

namespace drm::test {

struct PlainDiTConfig {
  int64_t channels = 16, patch = 2, most_patches = 8, size = 8, layers = 2, heads = 2, width = 32, text_width = 0;
};

/// "PlainDiT" in a config.json, with the fields' names.
Architecture plain_dit_architecture();

/// A model's transformer/config.json of that kind.
std::string plain_dit_json(const PlainDiTConfig& config);

}  // namespace drm::test
