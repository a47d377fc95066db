#include "api/prompt_chunks.h"

#include <algorithm>
#include <unordered_set>

namespace drm {
namespace {

using Field = int64_t ImageRequest::*;

/// The first images of the rest whose texts are at most `most`, in whole batches; the end of them.
int64_t end_of_chunk(const std::vector<ImageRequest>& images, int64_t begin, int64_t batch, int64_t most) {
  const auto count = static_cast<int64_t>(images.size());
  std::unordered_set<int64_t> prompts, negatives;
  auto end = begin;
  while (end < count) {
    const auto next = std::min(count, end + batch);
    for (auto i = end; i < next; ++i) {
      prompts.insert(images[static_cast<size_t>(i)].prompt);
      negatives.insert(images[static_cast<size_t>(i)].negative);
    }
    const bool fits = static_cast<int64_t>(std::max(prompts.size(), negatives.size())) <= most;
    if (!fits && end > begin) break;
    end = next;
    if (!fits) break;
  }
  return end;
}

TextRows rows_of(const std::vector<ImageRequest>& images, int64_t begin, int64_t end, Field field) {
  TextRows rows;
  for (auto i = begin; i < end; ++i) {
    const auto text = images[static_cast<size_t>(i)].*field;
    const auto known = std::find(rows.texts.begin(), rows.texts.end(), text);
    rows.of.push_back(known - rows.texts.begin());
    if (known == rows.texts.end()) rows.texts.push_back(text);
  }
  return rows;
}

}  // namespace

std::vector<PromptChunk> prompt_chunks(const std::vector<ImageRequest>& images, int64_t batch, int64_t most) {
  std::vector<PromptChunk> chunks;
  for (int64_t begin = 0; begin < static_cast<int64_t>(images.size());) {
    const auto end = end_of_chunk(images, begin, batch, most);
    chunks.push_back({begin, end, rows_of(images, begin, end, &ImageRequest::prompt),
                      rows_of(images, begin, end, &ImageRequest::negative)});
    begin = end;
  }
  return chunks;
}

}  // namespace drm
