// Features of images that are compared in pairs: computed when a pair first needs them, kept while a later one does and
// there is room, so that each image is computed once where all that are needed at a time fit.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace drm {

class PairFeatures {
 public:
  using Pairs = std::vector<std::pair<int64_t, int64_t>>;
  using Stages = std::vector<at::Tensor>;

  /// Keeps at most `bytes`, but always the two of a pair. compute(image) gives its features.
  PairFeatures(const Pairs& pairs, int64_t bytes, std::function<Stages(int64_t image)> compute);

  /// Features of both images of pair `at`; pairs have to be asked for in their order.
  std::pair<Stages, Stages> of(size_t at);

 private:
  struct Kept {
    Stages stages;
    int64_t bytes = 0;
  };
  const Stages& get(int64_t image);
  size_t next_use(int64_t image, size_t after) const;
  void make_room(size_t at);

  const Pairs& pairs_;
  int64_t bytes_, held_ = 0;
  std::function<Stages(int64_t)> compute_;
  std::map<int64_t, std::vector<size_t>> uses_;  // by image: the pairs that it is in, in order
  std::map<int64_t, Kept> kept_;
};

}  // namespace drm
