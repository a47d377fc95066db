// The trajectories of an iteration, from which its updates take rows.
#pragma once
#include "rl/rollout.h"
#include "train/policy_prompts.h"
#include "train/spec.h"

namespace drm {

/// Rows of what was collected, at one denoising step. N rows, K candidates of each.
struct CollectedRows {
  SdeStep step;
  Tensor state;                     // (N, C, H, W)
  Tensor candidates, old_log_prob;  // (N, K, C, H, W), (N, K)
  Conditioning text;                // of the rows' prompts
};

class TrajectoryStore {
 public:
  /// One rollout's.
  struct Collected {
    PolicyPrompts::Text text;
    std::vector<int64_t> prompt_of;
    Trajectories walked;
  };

  /// Another iteration than the last forgets what was collected before.
  void begin(int64_t iteration);
  /// The row from which on these are numbered.
  int64_t add(Collected rollout);
  /// The batch's rows at its step. Throws Failure(Internal) for what was not collected.
  CollectedRows rows(const TrainBatch& batch, const PolicyPrompts& prompts) const;

 private:
  std::vector<Collected> collected_;
  int64_t iteration_ = -1;
};

}  // namespace drm
