// What is trained, and how a batch becomes a loss. One class an objective (vae_objective.h, clip_objective.h,
// flow_objective.h, ...); all that they share (optimizer, averages, checkpoints) is the Trainer's.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/control.h"
#include "optim/optimizer.h"
#include "train/spec.h"

namespace drm {

class FrozenInputs;

/// Names the random numbers of one step. A held-out loss is always drawn at step 0 under a purpose of its own.
struct StepKey {
  uint64_t seed = 0;
  int64_t step = 0;
  bool evaluation = false;
};

/// (images, H, W, 3) uint8 on the CPU, a view of the batch's own memory. Throws Failure(BadRequest) when there are
/// none or their number does not fit.
at::Tensor batch_pixels(const TrainBatch& batch);
/// (B, L) int64 on the CPU, a view. Throws Failure(BadRequest).
at::Tensor batch_ids(const TrainBatch& batch);

/// Throws Failure(BadRequest), naming the part `where`, for a batch without two images a pair.
void require_pairs(const TrainBatch& batch, const char* where);

/// A scalar worth logging, detached: the mean over the batch's samples, or over those that `weight` (a scalar) counts.
struct Metric {
  std::string name;
  at::Tensor value, weight = {};
};

struct Loss {
  at::Tensor total;  // scalar, with gradient when training
  std::vector<Metric> metrics;
};

class Objective {
 public:
  virtual ~Objective() = default;

  /// What is trained, under the names that the weights file has: fp32 leaves that require gradients. Stable order.
  virtual NamedTensors parameters() = 0;
  /// Mean over the batch's samples. Runs under autocast when the trainer's dtype is not fp32. Throws
  /// Failure(BadRequest) when the batch lacks what is needed.
  virtual Loss loss(const TrainBatch& batch, const StepKey& key) = 0;
  /// Held-out quality from the current weights, without gradient: the loss and its metrics, or what says more
  /// (reconstruction PSNR, ...).
  virtual std::vector<Metric> evaluate(const TrainBatch& batch, const StepKey& key) {
    auto l = loss(batch, key);
    l.metrics.push_back({"loss", l.total});
    return std::move(l.metrics);
  }
  /// Whether the trainer's dtype is autocast's; else the objective sees to it itself.
  virtual bool autocasts() const { return true; }
  /// Called after each optimizer step.
  virtual void after_step() {}
  /// Writes the weights as the ecosystem reads them, in `dtype`. Throws Failure(Disk).
  virtual void export_weights(const std::string& path, at::ScalarType dtype) = 0;
};

/// An objective whose images and prompts go through frozen parts, which serve through caches (frozen_inputs.h).
class CachingObjective : public Objective {
 public:
  virtual FrozenInputs& inputs() = 0;
};

}  // namespace drm
