#include "random/normal_row.h"

#include <algorithm>

#include "common/multiversion.h"

namespace drm {

DRM_MULTIVERSION void normal_row(const Draw& draw, uint32_t first_block, int64_t blocks, float* out) {
  const Draw d = draw;  // a copy: the compiler then knows that writing `out` cannot change it
  // Words, numbers and their order in three loops over a run that stays in the first-level cache: compilers vectorise
  // each, but not the three as one.
  constexpr int64_t kRun = 64;
  uint32_t words[4][kRun];
  float numbers[4][kRun];
  for (int64_t at = 0; at < blocks; at += kRun) {
    const auto n = std::min(kRun, blocks - at);
    const auto first = first_block + static_cast<uint32_t>(at);
    _Pragma("omp simd") for (int64_t i = 0; i < kRun; ++i) {
      const auto block = philox(d, first + static_cast<uint32_t>(i));
      words[0][i] = block.word[0];
      words[1][i] = block.word[1];
      words[2][i] = block.word[2];
      words[3][i] = block.word[3];
    }
    for (int pair = 0; pair < 4; pair += 2) {
      _Pragma("omp simd") for (int64_t i = 0; i < kRun; ++i)
          normals_from(words[pair][i], words[pair + 1][i], &numbers[pair][i], &numbers[pair + 1][i]);
    }
    float* to = out + 4 * at;
    for (int64_t i = 0; i < n; ++i)
      for (int j = 0; j < 4; ++j) to[4 * i + j] = numbers[j][i];
  }
}

}  // namespace drm
