// How the scorers of CLIP's family see images: whose way into the square, and CLIP's normalisation.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "scorers/pillow_resize.h"
#include "tensor_io/config_reader.h"

namespace drm {

struct ClipImages {
  enum class Rule { Transformers, Torchvision, Letterbox };  // pillow_square() by either rule, letterbox()
  int64_t size = 224;                                        // pixels a side
  Rule rule = Rule::Transformers;
  bool antialias = true;  // of the letterbox
};

/// From a scorer's settings: "pixels" ("transformers", "torchvision" or "letterbox") and "antialias". Throws
/// Failure(BadConfig).
ClipImages read_clip_images(const ConfigReader& settings, int64_t size);

/// Refuses a model whose preprocessor_config.json at `path` wants its images prepared in another way. Throws
/// Failure(BadConfig | BadFile).
void check_preprocessor(const std::string& path, const ClipImages& how);

/// Images begin to end as far as a CPU prepares them, to be given to clip_input(): bytes, or the letterbox's floats.
at::Tensor prepared_for_clip(const std::vector<Bitmap>& images, size_t begin, size_t end, const ClipImages& how);
/// What clip_vision_forward() reads, on the device: (B, 3, S, S) fp32.
at::Tensor clip_input(const at::Tensor& prepared, at::Device device);

}  // namespace drm
