// Inputs for fuzzing: seeds, changed at random. An input is a function of the run's seed and its own number, so that
// any of them can be made again.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "random/philox.h"

namespace drm::fuzz {

/// Random numbers of one input.
class Dice {
 public:
  Dice(uint64_t seed, uint64_t input)
      : draw_{seed, Purpose::Evaluation, static_cast<uint32_t>(input), static_cast<uint32_t>(input >> 32)} {}
  uint32_t word() {
    if (used_ == 4) {
      block_ = philox(draw_, index_++);
      used_ = 0;
    }
    return block_.word[used_++];
  }
  /// 0 to n - 1; n > 0.
  size_t below(size_t n) { return static_cast<size_t>(static_cast<uint64_t>(word()) * n >> 32); }
  bool one_in(size_t n) { return below(n) == 0; }
  template <class T>
  const T& of(const std::vector<T>& all) {
    return all[below(all.size())];
  }

 private:
  Draw draw_;
  Philox4 block_{};
  uint32_t index_ = 0;
  int used_ = 4;
};

/// A JSON text after a few changes: bytes, ranges, words of the formats read here, numbers at the edge.
std::string mutate_text(std::string text, const std::vector<std::string>& others, Dice& dice);
/// A safetensors file after changes of its header, whose length is mostly put right again, or of any of its bytes.
std::string mutate_safetensors(const std::string& file, const std::vector<std::string>& others, Dice& dice);
/// A checkpoint of torch.save after changes of its opcodes or of any of its bytes; a zip's checksums and sizes are mostly
/// put right again.
std::string mutate_pickle(const std::string& file, const std::vector<std::string>& others, Dice& dice);

}  // namespace drm::fuzz
