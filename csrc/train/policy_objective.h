// Policy gradients on an adapter of a text-to-image model (section 3.3): trajectories are collected with the adapter as
// it is, and each update takes rows of them at one denoising step. The base is frozen; without adapter it is the
// reference policy.
#pragma once
#include <memory>

#include "train/objective.h"

namespace drm {

class PolicyObjective : public Objective {
 public:
  /// Throws Failure(BadConfig | BadFile | KeysMismatch | BadRequest).
  static std::unique_ptr<PolicyObjective> create(const PolicySpec& spec, uint64_t seed, at::ScalarType dtype,
                                                 at::Device device, Control& control);

  /// See RolloutRequest (spec.h). Throws Failure(BadRequest | BadConfig | NotFinite | Cancelled).
  virtual Rollout rollout(const RolloutRequest& request, Control& control) = 0;
  /// Largest |ratio - 1| over the batch's candidates, by the very pass that an update makes. Before the first update it
  /// must be 0 up to rounding: else sampling and training are not of one policy.
  virtual double ratio_error(const TrainBatch& batch) = 0;
  /// See PolicySampleRequest; with the current weights, averages are the caller's affair.
  virtual PolicyScores sample(const PolicySampleRequest& request, Control& control) = 0;
};

}  // namespace drm
