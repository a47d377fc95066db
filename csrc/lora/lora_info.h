// What is told of an adapter that was applied. No torch header here.
#pragma once
#include <cstdint>
#include <string>

namespace drm {

/// An adapter that was applied; all its tensors matched.
struct LoraInfo {
  std::string file, spelling;
  double strength = 1;
  int64_t tensors = 0, layers = 0;
  bool alpha_stated = true;
};

}  // namespace drm
