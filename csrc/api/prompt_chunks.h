// Which prompts a request's images read, some images at a time: so that the embeds of thousands of prompts, tens of
// gigabytes for a large model, never lie in memory at once.
#pragma once
#include <cstdint>
#include <vector>

#include "api/pipeline.h"

namespace drm {

/// Distinct prompts that are embedded at once. 64 of SD3.5's are 350 MB in bf16 with T5's 512 tokens.
constexpr int64_t kPromptsInMemory = 64;

/// Texts of some images, each once, in the order in which they are first read.
struct TextRows {
  std::vector<int64_t> texts;  // index into the request's list
  std::vector<int64_t> of;     // of each image: index into `texts`
};

/// Images begin..end of a request: whole batches, but for the last.
struct PromptChunk {
  int64_t begin = 0, end = 0;
  TextRows prompts, negatives;
};

/// All images in order, `batch` to a network call. A chunk reads at most `most` distinct prompts and as many negative
/// ones, unless a single batch reads more.
std::vector<PromptChunk> prompt_chunks(const std::vector<ImageRequest>& images, int64_t batch, int64_t most);

}  // namespace drm
