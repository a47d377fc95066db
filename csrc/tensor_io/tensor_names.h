// What weight files hold, by name, for those who choose files.
#pragma once
#include <string>
#include <vector>

namespace drm {

/// Names of all tensors, as the files have them; a file may be an index of shards. Throws Failure as Weights::open().
std::vector<std::string> tensor_names(const std::vector<std::string>& files);

}  // namespace drm
