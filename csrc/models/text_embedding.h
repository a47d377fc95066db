// A prompt in the forms that it takes on its way into a velocity network. A model that has no use for one of the two
// parts leaves it undefined. Shapes: B prompts, L tokens, D and P widths.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace drm {

/// What the text encoders say, put together as the model reads it.
struct PromptEmbeds {
  at::Tensor sequence;  // (B, L, D)
  at::Tensor pooled;    // (B, P)
};

/// What a prompt contributes at every step, computed once by the model's own embedders: VelocityModel::embed_text().
struct TextEmbedding {
  at::Tensor context_BLD;
  at::Tensor pooled_BD;
  bool defined() const { return context_BLD.defined() || pooled_BD.defined(); }
  int64_t rows() const { return (context_BLD.defined() ? context_BLD : pooled_BD).size(0); }
  int64_t tokens() const { return context_BLD.defined() ? context_BLD.size(1) : 0; }
};

/// The embeds in another dtype.
PromptEmbeds embeds_in(const PromptEmbeds& embeds, at::ScalarType dtype);

/// Row `index[i]` of `all` as row i.
TextEmbedding select_rows(const TextEmbedding& all, const at::Tensor& index);
TextEmbedding select_rows(const TextEmbedding& all, const std::vector<int64_t>& index);
/// One row, n times, without copies.
TextEmbedding expand_rows(const TextEmbedding& one, int64_t n);
/// The rows of all parts, one part after the other.
TextEmbedding join_rows(const std::vector<TextEmbedding>& parts);

}  // namespace drm
