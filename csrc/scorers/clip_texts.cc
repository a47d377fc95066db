#include "scorers/clip_texts.h"

#include <algorithm>

#include "common/failure.h"
#include "scorers/passes.h"

namespace drm {

int64_t end_token(const ClipConfig& config) {
  return config.eos_token_id == 2 ? config.vocab_size - 1 : config.eos_token_id;
}

at::Tensor clip_rows(const char* scorer, const std::vector<std::vector<int64_t>>& ids, size_t begin, size_t end,
                     const ClipConfig& config) {
  const auto last = end_token(config);
  for (auto i = begin; i < end; ++i) {
    const auto& row = ids[i];
    for (const auto id : row)
      if (id < 0 || id >= config.vocab_size)
        throw Failure(Code::BadRequest, std::string("[") + scorer + "] token id " + std::to_string(id) +
                                            ": expected one of the text tower's " + std::to_string(config.vocab_size) +
                                            "; tokenizer and weights do not belong together");
    if (row.size() == static_cast<size_t>(config.max_position_embeddings) &&
        std::find(row.begin(), row.end(), last) == row.end())
      throw Failure(Code::BadRequest, std::string("[") + scorer + "] caption " + std::to_string(i) +
                                          ": expected the end token " + std::to_string(last) +
                                          " among its ids, found none; tokenizer and weights do not belong together");
  }
  return token_rows(scorer, ids, begin, end, config.max_position_embeddings);
}

}  // namespace drm
