// The kinds of scorer there are: a line each in registry.cc. No torch header here.
#pragma once
#include "scorers/scorer.h"

namespace drm {

struct ScorerKind {
  const char* name;
  std::shared_ptr<Scorer> (*load)(const ScorerSource& source, const LoadOptions& options, Control& control);
};

/// For the tests' own kinds.
void add_scorer(const ScorerKind& kind);

/// By source.kind. Throws Failure (BadRequest for a kind that there is not, BadFile, BadConfig, KeysMismatch,
/// OutOfMemory, Device). Reports phase "load" in bytes.
std::shared_ptr<Scorer> load_scorer(const ScorerSource& source, const LoadOptions& options, Control& control);

}  // namespace drm
