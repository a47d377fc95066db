#include "scorers/pair_features.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace drm {
namespace {

constexpr size_t kNever = std::numeric_limits<size_t>::max();

}  // namespace

PairFeatures::PairFeatures(const Pairs& pairs, int64_t bytes, std::function<Stages(int64_t)> compute)
    : pairs_(pairs), bytes_(bytes), compute_(std::move(compute)) {
  for (size_t i = 0; i < pairs.size(); ++i) {
    uses_[pairs[i].first].push_back(i);
    if (pairs[i].second != pairs[i].first) uses_[pairs[i].second].push_back(i);
  }
}

std::pair<PairFeatures::Stages, PairFeatures::Stages> PairFeatures::of(size_t at) {
  const auto [first, second] = pairs_[at];
  std::pair<Stages, Stages> both{get(first), get(second)};
  make_room(at);
  return both;
}

const PairFeatures::Stages& PairFeatures::get(int64_t image) {
  if (const auto it = kept_.find(image); it != kept_.end()) return it->second.stages;
  Kept one{compute_(image)};
  for (const auto& stage : one.stages) one.bytes += static_cast<int64_t>(stage.nbytes());
  held_ += one.bytes;
  return kept_.emplace(image, std::move(one)).first->second.stages;
}

/// The first pair after that one which has the image.
size_t PairFeatures::next_use(int64_t image, size_t after) const {
  const auto& uses = uses_.at(image);
  const auto it = std::upper_bound(uses.begin(), uses.end(), after);
  return it == uses.end() ? kNever : *it;
}

/// What no later pair needs goes; beyond the room, then, what is needed last (Belady 1966: fewest are computed again).
void PairFeatures::make_room(size_t at) {
  while (!kept_.empty()) {
    auto last = kept_.begin();
    for (auto it = kept_.begin(); it != kept_.end(); ++it)
      if (next_use(it->first, at) > next_use(last->first, at)) last = it;
    if (held_ <= bytes_ && next_use(last->first, at) != kNever) return;
    held_ -= last->second.bytes;
    kept_.erase(last);
  }
}

}  // namespace drm
