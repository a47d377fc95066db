#include "train/policy_prompts.h"

namespace drm {

PromptEmbeds PolicyPrompts::encode(const std::vector<PromptTokens>& prompts, int64_t t5_length,
                                   const Control& control) const {
  return encode_prompts(model_, encoders_, prompts, t5_length, settings_.device, control);
}

PolicyPrompts::Text PolicyPrompts::encode(const std::vector<PromptTokens>& prompts, const PromptTokens& negative,
                                          const Control& control) const {
  const auto length = settings_.t5_length;
  Text t{encode(prompts, length, control), encode({negative}, length, control), {}};
  if (!settings_.embedders_train) t.embedded = embed(t);
  return t;
}

Conditioning PolicyPrompts::embed(const Text& t) const {
  if (t.embedded) return *t.embedded;
  const auto embedded = [&](const PromptEmbeds& e) { return model_.embed_text(embeds_in(e, settings_.dtype)); };
  return {embedded(t.prompts), embedded(t.negative)};
}

Conditioning PolicyPrompts::rows(const Text& t, const std::vector<int64_t>& prompt_of) const {
  const auto embedded = embed(t);
  return {select_rows(embedded.conditional, prompt_of),
          expand_rows(embedded.unconditional, static_cast<int64_t>(prompt_of.size()))};
}

}  // namespace drm
