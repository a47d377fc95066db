// The prompts of a policy: encoded once for what is collected, and embedded once where no adapter can change that.
#pragma once
#include <optional>

#include "flow/sampler.h"
#include "models/encode_prompts.h"

namespace drm {

class PolicyPrompts {
 public:
  struct Settings {
    int64_t t5_length = 0;  // tokens of T5 (zeros without one)
    at::ScalarType dtype;   // of the model
    at::Device device;
    bool embedders_train = false;  // an adapter sits on the model's own embedders
  };
  /// Refers to model and encoders.
  PolicyPrompts(const VelocityModel& model, const TextEncoders& encoders, const Settings& settings)
      : model_(model), encoders_(encoders), settings_(settings) {}

  /// Embeds of prompts (P) and of the negative prompt.
  struct Text {
    PromptEmbeds prompts, negative;
    std::optional<Conditioning> embedded;  // where no adapter can change that
  };
  Text encode(const std::vector<PromptTokens>& prompts, const PromptTokens& negative, const Control& control) const;
  PromptEmbeds encode(const std::vector<PromptTokens>& prompts, int64_t t5_length, const Control& control) const;
  /// A row for each of these prompts, by the embedders as they are now.
  Conditioning rows(const Text& text, const std::vector<int64_t>& prompt_of) const;

 private:
  Conditioning embed(const Text& text) const;

  const VelocityModel& model_;
  const TextEncoders& encoders_;
  Settings settings_;
};

}  // namespace drm
