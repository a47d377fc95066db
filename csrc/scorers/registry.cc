#include "scorers/registry.h"

#include "common/failure.h"
#include "scorers/aesthetic_scorer.h"
#include "scorers/clip_scorer.h"
#include "scorers/hpsv3_scorer.h"
#include "scorers/imagereward_scorer.h"
#include "scorers/lpips_scorer.h"
#include "scorers/mps_scorer.h"

namespace drm {
namespace {

std::vector<ScorerKind>& kinds() {
  static std::vector<ScorerKind> all = {
      {"aesthetic", load_aesthetic_scorer},
      {"clip", load_clip_scorer},
      {"hpsv3", load_hpsv3_scorer},
      {"imagereward", load_imagereward_scorer},
      {"lpips", load_lpips_scorer},
      {"mps", load_mps_scorer},
  };
  return all;
}

}  // namespace

void add_scorer(const ScorerKind& kind) { kinds().push_back(kind); }

std::shared_ptr<Scorer> load_scorer(const ScorerSource& source, const LoadOptions& options, Control& control) {
  std::string known;
  for (const auto& kind : kinds()) {
    if (source.kind == kind.name) return kind.load(source, options, control);
    known += (known.empty() ? "" : ", ") + std::string(kind.name);
  }
  throw Failure(Code::BadRequest, "[score] kind of scorer: expected one of " + known + ", found " + source.kind);
}

}  // namespace drm
