#include "train/trajectory_store.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace drm {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Failure(Code::Internal, "[policy] " + what); }

}  // namespace

void TrajectoryStore::begin(int64_t iteration) {
  if (iteration != iteration_) collected_.clear();
  iteration_ = iteration;
}

int64_t TrajectoryStore::add(Collected rollout) {
  int64_t first = 0;
  for (const auto& other : collected_) first += static_cast<int64_t>(other.prompt_of.size());
  collected_.push_back(std::move(rollout));
  return first;
}

CollectedRows TrajectoryStore::rows(const TrainBatch& batch, const PolicyPrompts& prompts) const {
  struct Part {
    const Collected* from;
    std::vector<int64_t> rows;
  };
  std::vector<Part> parts;
  for (auto row : batch.samples) {
    const Collected* from = nullptr;
    for (const auto& c : collected_) {
      const auto n = static_cast<int64_t>(c.prompt_of.size());
      if (row >= 0 && row < n) {
        from = &c;
        break;
      }
      row -= n;
    }
    if (!from) refuse("an update names a trajectory that was not collected in this iteration");
    if (parts.empty() || parts.back().from != from) parts.push_back({from, {}});
    parts.back().rows.push_back(row);
  }
  if (parts.empty()) refuse("an update without trajectories");
  CollectedRows all;
  std::vector<Tensor> states, candidates, old;
  std::vector<TextEmbedding> conditional, unconditional;
  for (const auto& [from, rows_here] : parts) {
    const auto& steps = from->walked.steps;
    const auto s = std::find_if(steps.begin(), steps.end(), [&](const auto& s) { return s.index == batch.step; });
    if (s == steps.end()) refuse("denoising step " + std::to_string(batch.step) + " was sampled without noise");
    const auto index = at::tensor(rows_here, at::kLong).to(s->state.device());
    states.push_back(s->state.index_select(0, index));
    candidates.push_back(s->candidates.index_select(0, index));
    old.push_back(s->old_log_prob.index_select(0, index));
    std::vector<int64_t> prompt_of;
    for (const auto row : rows_here) prompt_of.push_back(from->prompt_of[static_cast<size_t>(row)]);
    const auto text = prompts.rows(from->text, prompt_of);
    conditional.push_back(text.conditional);
    unconditional.push_back(text.unconditional);
    all.step = s->step;
  }
  all.text = {join_rows(conditional), join_rows(unconditional)};
  all.state = at::cat(states);
  all.candidates = at::cat(candidates);
  all.old_log_prob = at::cat(old);
  return all;
}

}  // namespace drm
