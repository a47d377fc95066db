// CMMD (Jayasumana et al. 2024, "Rethinking FID"): how far two sets of images lie apart in CLIP's eyes.
#pragma once
#include <cstdint>
#include <vector>

namespace drm {

/// Unit vectors, row by row.
struct Features {
  std::vector<float> values;
  int64_t rows = 0, width = 0;
};

struct Cmmd {
  double biased;    // the authors' own: V-statistic, never negative, but too large by about 1 / rows of the spread
  double unbiased;  // U-statistic: a comparison of small sets should use this one
};

/// 1000 * MMD^2 with a Gaussian kernel of sigma 10, in double precision: with so wide a kernel the result is a small
/// difference of numbers near one. Throws Failure(BadRequest) for fewer than two rows or different widths.
Cmmd cmmd(const Features& a, const Features& b);

}  // namespace drm
