// A loaded CLIP as a judge of pictures: 8-bit pictures and token ids in, unit vectors out. No torch header here.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "common/control.h"
#include "common/model_source.h"
#include "scorers/cmmd.h"
#include "scorers/pillow_resize.h"

namespace drm {

struct ClipScorerSource {
  std::string config;                // transformers' CLIPModel config.json
  std::vector<std::string> weights;  // one file, several, or one index
  std::string preprocessor_config;   // empty: CLIP's usual preprocessing, the only one there is here
};

struct ClipScorerInfo {
  std::string device, dtype;
  int64_t parameters = 0, weight_bytes = 0;
  int64_t image_size = 0;  // pixels a side that the image tower sees
  int64_t tokens = 0;      // that the text tower reads
  int64_t width = 0;       // of the features
  double logit_scale = 0;  // s: the score of a pair is e^s times its cosine
};

class ClipScorer {
 public:
  /// Throws Failure (BadFile, BadConfig, KeysMismatch, OutOfMemory, Device). Reports phase "load" in bytes.
  static std::shared_ptr<ClipScorer> load(const ClipScorerSource& source, const LoadOptions& options, Control& control);
  virtual ~ClipScorer() = default;
  virtual const ClipScorerInfo& info() const = 0;
  /// RGB pictures of any size, preprocessed as transformers does (pillow_square). Reports phase "images". One call at a
  /// time per scorer. Throws Failure (BadRequest, NotFinite, OutOfMemory, Cancelled).
  virtual Features images(const std::vector<Bitmap>& pictures, Control& control) = 0;
  /// Rows of info().tokens ids each, padded. Reports phase "texts". Likewise.
  virtual Features texts(const std::vector<std::vector<int64_t>>& ids, Control& control) = 0;
};

}  // namespace drm
