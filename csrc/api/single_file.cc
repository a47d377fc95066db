#include "api/single_file.h"

#include "tensor_io/tensor_names.h"
#include "text/text_keys.h"
#include "vae/vae_keys.h"

namespace drm {

std::vector<std::string> components_inside(const std::string& file) {
  const auto names = tensor_names({file});
  std::vector<std::string> found;
  if (any_starts(names, kSingleFileVae)) found.push_back("vae");
  for (const char* which : {"clip_l", "clip_g", "t5xxl"})
    if (any_starts(names, single_file_encoder(which))) found.push_back(which);
  return found;
}

}  // namespace drm
