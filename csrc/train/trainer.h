// One training run's state, advanced a step at a time: parameters, AdamW, weight averages. The loop around it (data,
// learning rate, when to save) is the caller's; every random number is a function of seed, step and sample, so this
// state and the step index are all that a resumed run needs.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "optim/loss_scale.h"
#include "parallel/data_parallel.h"
#include "train/objective.h"

namespace drm {

class Trainer {
 public:
  /// With a group, this is one process of several that train one model: each gives step() its samples and gets the
  /// metrics of all. All make the same calls of this constructor, step(), save() and restore(), in the same order; the
  /// first one's weights and file are what all have.
  Trainer(std::unique_ptr<Objective> objective, const TrainerOptions& options,
          std::shared_ptr<Collectives> group = nullptr, const Control& control = {});

  /// One optimizer step over the micro-batches, whose gradients are averaged by their number of samples. Returns the
  /// objective's metrics, "loss" and "grad_norm" (before clipping). Checks `control` between micro-batches: a cancelled
  /// step changes nothing. Throws Failure(NotFinite) naming the step; the weights are then as before it. In fp16 a step
  /// that is not finite is skipped instead, as long as the loss's scale can be halved: without "grad_norm", weights as
  /// before, and one more in "overflows" (loss_scale.h). "loss_scale" is that of this step.
  Metrics step(const std::vector<TrainBatch>& batches, int64_t index, double learning_rate, Control& control);
  /// Held-out metrics of the averaged weights (of the current ones without averages), means over the batch. The same
  /// batch gives the same numbers for the same weights.
  Metrics evaluate(const TrainBatch& batch);

  /// Everything that step() changes, as one safetensors file, the same for any number of processes. Throws
  /// Failure(Disk).
  void save(const std::string& path, const Control& control = {});
  /// Throws Failure(BadFile | KeysMismatch | BadShape).
  void restore(const std::string& path, const Control& control = {});
  /// The averaged weights (the current ones without averages) as the ecosystem reads them.
  void export_weights(const std::string& path, const std::string& dtype);

  int64_t trained_parameters() const;
  Objective& objective() { return *objective_; }
  /// Runs `work` while no other call runs.
  template <class Work>
  auto exclusively(Work work) {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    return work();
  }
  /// The same, with the averaged weights in place of the current ones.
  template <class Work>
  auto with_averages(Work work) {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    const Swapped swapped(*this);
    return work();
  }

 private:
  class Swapped {  // parameters hold the averages while one of these lives
   public:
    explicit Swapped(Trainer& trainer);
    ~Swapped();

   private:
    Trainer& trainer_;
    std::vector<at::Tensor> kept_;
  };

  TrainerOptions options_;
  at::ScalarType dtype_;
  std::unique_ptr<Objective> objective_;
  NamedTensors parameters_;
  std::unique_ptr<DataParallel> parallel_;  // null: this process alone
  AdamW optimizer_;
  std::unique_ptr<Ema> averages_;
  std::unique_ptr<LossScale> loss_scale_;  // of fp16 alone; the same on all processes
  std::mutex mutex_;                       // one call at a time; others wait
};

}  // namespace drm
