// A loaded judge of finished images. A scorer is one file that implements this and a line in registry.cc. No torch
// header here.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/control.h"
#include "common/model_source.h"
#include "scorers/cmmd.h"
#include "scorers/pillow_resize.h"
#include "tensor_io/config_reader.h"

namespace drm {

struct ScorerSource {
  std::string kind;                  // which scorer, by its name in the registry
  std::string config;                // config.json
  std::vector<std::string> weights;  // one file, several that hold the kind's tensors together, or one index
  std::string preprocessor_config;   // empty: the kind's usual preprocessing
  std::string settings;              // a JSON object of the kind's own settings; empty: its defaults
};

/// Reads source.settings; `keep` holds what the reader points into. Throws Failure(BadFile) for what is no JSON.
ConfigReader scorer_settings(const ScorerSource& source, std::shared_ptr<Json>& keep);

struct ScorerInfo {
  std::string device, dtype;
  int64_t parameters = 0, weight_bytes = 0;
  int64_t image_size = 0;  // pixels a side that it sees
  int64_t tokens = 0;      // that it reads at most; 0: it reads no text
  int64_t width = 0;       // of the features; 0: it has none
  double logit_scale = 0;  // s: e^s times a cosine is what the model was trained to tell pairs apart by
};

/// Images, and of each the prompt that it is judged by.
struct ImagesToScore {
  std::vector<Bitmap> images;                 // RGB of any size
  std::vector<std::vector<int64_t>> prompts;  // rows of token ids as the kind reads them; empty where no text is read
  std::vector<int64_t> prompt_of;             // (images) index into prompts; empty likewise
};

/// Throws Failure(BadRequest) where prompt_of does not name a prompt for each image.
void check_prompts(const ImagesToScore& request);

struct Scores {
  std::vector<float> values;      // (images)
  std::vector<float> deviations;  // (images) of a kind that says how sure it is, such as HPSv3's sigma; else empty
};

/// One call at a time per scorer. All throw Failure(BadRequest, NotFinite, OutOfMemory, Cancelled), BadRequest also for
/// what a kind does not do.
class Scorer {
 public:
  virtual ~Scorer() = default;
  virtual const ScorerInfo& info() const = 0;
  /// Unit vectors of images, preprocessed as the kind's reference does. Reports phase "images".
  virtual Features image_features(const std::vector<Bitmap>& images, Control& control);
  /// Unit vectors of texts, rows of info().tokens ids each. Reports phase "texts".
  virtual Features text_features(const std::vector<std::vector<int64_t>>& ids, Control& control);
  /// By default the cosine of the two features, of each distinct image and prompt once.
  virtual Scores score(const ImagesToScore& request, Control& control);
  /// Distances (pairs) between images by their index, 0 for equal ones: of kinds that compare images, such as LPIPS.
  virtual std::vector<float> distances(const std::vector<Bitmap>& images,
                                       const std::vector<std::pair<int64_t, int64_t>>& pairs, Control& control);
};

}  // namespace drm
