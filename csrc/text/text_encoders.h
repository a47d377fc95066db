// The three text encoders of a pipeline as one thing: token ids in, states out.
#pragma once
#include <algorithm>
#include <optional>

#include "common/control.h"
#include "common/model_source.h"
#include "text/encoded_prompts.h"
#include "text/prompt_tokens.h"
#include "text/t5.h"

namespace drm {

struct TextEncoders {
  Clip clip_l, clip_g;
  std::optional<T5> t5;
  bool loaded = false;  // false after free()

  int64_t pooled_width() const { return clip_l.config.projection_dim + clip_g.config.projection_dim; }
  /// Tokens that both CLIPs have positions for.
  int64_t clip_positions() const {
    return std::min(clip_l.config.max_position_embeddings, clip_g.config.max_position_embeddings);
  }
  /// Gives the weights' memory back; sizes stay known.
  void free();
};

/// The encoders with their sizes, and where their weights are: nothing is loaded yet.
struct TextEncoderPlan {
  TextEncoders encoders;
  Weights clip_l, clip_g;
  std::optional<Weights> t5;
  int64_t parameters();
  /// Of the weights as load_text_encoders() keeps them.
  int64_t bytes(at::ScalarType dtype);
};
/// Throws Failure(BadFile, BadConfig).
TextEncoderPlan plan_text_encoders(const PipelineSource& source);
/// Throws Failure(KeysMismatch).
TextEncoders load_text_encoders(TextEncoderPlan plan, at::ScalarType dtype, at::Device device,
                                const std::function<void(uint64_t, uint64_t)>& progress);

/// That all prompts have as many CLIP ids as the first, and `t5_length` ids of T5 where there is one. Throws
/// Failure(BadRequest) naming the prompt whose ids do not fit.
void require_lengths(const TextEncoders& encoders, const std::vector<PromptTokens>& prompts, int64_t t5_length);

/// Runs all three on the prompts, a few at a time, and gives each few to `take`. `t5_length` also says how many tokens
/// stand in for T5's when it is absent, and may then be 0. Throws what require_lengths() throws, and Failure(NotFinite)
/// naming the encoder that gave NaN or infinity.
void encode_prompts(const TextEncoders& encoders, const std::vector<PromptTokens>& prompts, int64_t t5_length,
                    at::Device device, const Control& control, const std::function<void(const EncodedPrompts&)>& take);

}  // namespace drm
