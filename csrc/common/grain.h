// How loops are shared among threads.
#pragma once
#include <cstdint>

namespace drm {

/// Numbers that a thread should be given at least: for fewer, waking it takes longer.
constexpr int64_t kGrain = 16384;

}  // namespace drm
