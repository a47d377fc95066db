#include "models/text_embedding.h"

#include <ATen/ATen.h>

namespace drm {
namespace {

template <class Change>
TextEmbedding changed(const TextEmbedding& text, Change change) {
  return {text.context_BLD.defined() ? change(text.context_BLD) : at::Tensor(),
          text.pooled_BD.defined() ? change(text.pooled_BD) : at::Tensor()};
}

at::Tensor joined(const std::vector<TextEmbedding>& parts, at::Tensor TextEmbedding::*part) {
  std::vector<at::Tensor> all;
  for (const auto& text : parts)
    if ((text.*part).defined()) all.push_back(text.*part);
  return all.empty() ? at::Tensor() : at::cat(all, 0);
}

}  // namespace

PromptEmbeds embeds_in(const PromptEmbeds& embeds, at::ScalarType dtype) {
  return {embeds.sequence.defined() ? embeds.sequence.to(dtype) : at::Tensor(),
          embeds.pooled.defined() ? embeds.pooled.to(dtype) : at::Tensor()};
}

TextEmbedding select_rows(const TextEmbedding& all, const at::Tensor& index) {
  return changed(all, [&](const at::Tensor& t) { return t.index_select(0, index); });
}

TextEmbedding select_rows(const TextEmbedding& all, const std::vector<int64_t>& index) {
  const auto& any = all.context_BLD.defined() ? all.context_BLD : all.pooled_BD;
  return select_rows(all, at::tensor(index, at::kLong).to(any.device()));
}

TextEmbedding expand_rows(const TextEmbedding& one, int64_t n) {
  return changed(one, [&](const at::Tensor& t) {
    std::vector<int64_t> shape(static_cast<size_t>(t.dim()), -1);
    shape[0] = n;
    return t.expand(shape);
  });
}

TextEmbedding join_rows(const std::vector<TextEmbedding>& parts) {
  return {joined(parts, &TextEmbedding::context_BLD), joined(parts, &TextEmbedding::pooled_BD)};
}

}  // namespace drm
