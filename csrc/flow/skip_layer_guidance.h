// Skip-layer guidance, as plain data.
#pragma once
#include <cstdint>
#include <vector>

namespace drm {

/// As in diffusers' SD3 pipeline: between start and stop (fractions of the step count) what a pass without `layers`
/// says is subtracted with weight `scale`. Without layers there is none.
struct SkipLayerGuidance {
  std::vector<int64_t> layers;
  double scale = 2.8, start = 0.01, stop = 0.2;
};

}  // namespace drm
