// What the images of a request begin from: a file's latents, or noise of their seeds, which is
// drawn when it is needed.
#pragma once
#include <ATen/core/Tensor.h>

#include "api/pipeline.h"

namespace drm {

class FirstLatents {
 public:
  /// `shape` is (images, C, h, w); noise is drawn in `dtype`. Throws Failure(BadFile | BadShape) when the file does
  /// not hold such a tensor.
  FirstLatents(const SampleRequest& request, std::vector<int64_t> shape, at::ScalarType dtype, int64_t vae_factor);
  /// Of images begin .. begin + n: (n, C, h, w) fp32 on the CPU.
  at::Tensor rows(int64_t begin, int64_t n) const;

 private:
  const SampleRequest& request_;
  std::vector<int64_t> shape_;
  at::ScalarType dtype_;
  at::Tensor given_;  // the file's
};

}  // namespace drm
