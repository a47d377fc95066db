// A training run as the binding sees it: plain data in and out, no torch header.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "common/control.h"
#include "parallel/process_group.h"
#include "train/spec.h"

namespace drm {

class Training {
 public:
  /// Throws Failure(BadFile | BadConfig | KeysMismatch | BadRequest | OutOfMemory | Device). `group`: the processes
  /// that train together, or null; see Trainer.
  static std::shared_ptr<Training> create(const ObjectiveSpec& objective, const TrainerOptions& options,
                                          const std::shared_ptr<ProcessGroup>& group, Control& control);
  virtual ~Training() = default;

  /// Numbers that are trained.
  virtual int64_t parameters() const = 0;
  /// See Trainer (trainer.h): one optimizer step over micro-batches, held-out metrics, the state as one file.
  virtual Metrics step(const std::vector<TrainBatch>& batches, int64_t index, double learning_rate,
                       Control& control) = 0;
  virtual Metrics evaluate(const TrainBatch& batch) = 0;
  virtual void save(const std::string& path, const Control& control) = 0;
  virtual void restore(const std::string& path, const Control& control) = 0;
  /// `layout` matters to reward models alone. Throws Failure(BadRequest) for one that an objective does not have.
  virtual void export_weights(const std::string& path, const std::string& dtype,
                              RewardLayout layout = RewardLayout::Kept) = 0;

  /// See FrozenInputs (frozen_inputs.h). Throws Failure(BadRequest) for objectives without frozen parts.
  virtual void cache_latents(const TrainBatch& batch) = 0;
  virtual void cache_prompts(const std::vector<PromptTokens>& prompts, Control& control) = 0;
  virtual void load_latents(const std::string& path, const std::vector<int64_t>& images) = 0;
  virtual void load_prompts(const std::vector<std::string>& paths) = 0;
  /// Flow matching alone: images of the averaged weights as events "image" {index, width, height} with RGB bytes.
  virtual void preview(const PreviewRequest& request, Control& control) = 0;
};

/// The training of a policy, which collects what it learns from.
class PolicyTraining : public Training {
 public:
  static std::shared_ptr<PolicyTraining> create(const PolicySpec& policy, const TrainerOptions& options,
                                                const std::shared_ptr<ProcessGroup>& group, Control& control);
  /// See PolicyObjective (policy_objective.h).
  virtual Rollout rollout(const RolloutRequest& request, Control& control) = 0;
  /// The largest of the batches.
  virtual double ratio_error(const std::vector<TrainBatch>& batches, Control& control) = 0;
  virtual PolicyScores sample(const PolicySampleRequest& request, Control& control) = 0;
};

}  // namespace drm
