// What a single file of SD3's original form holds. No torch header here.
#pragma once
#include <string>
#include <vector>

namespace drm {

/// Beside the transformer: "vae", "clip_l", "clip_g", "t5xxl". Throws Failure as Weights::open().
std::vector<std::string> components_inside(const std::string& file);

}  // namespace drm
