// What a trainer does differently when several processes train one model, each on its part of every batch.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "common/metrics.h"
#include "parallel/collectives.h"
#include "parallel/gradient_buckets.h"
#include "parallel/sharding.h"

namespace drm {

class DataParallel {
 public:
  /// Gives all processes the first one's parameters. With `zero`, each keeps the optimizer's state of some of them
  /// (ZeRO-1).
  DataParallel(std::shared_ptr<Collectives> group, const NamedTensors& parameters, bool zero, const Control& control);

  bool first() const { return group_->rank() == 0; }
  /// The parameters that this process's optimizer steps.
  const NamedTensors& stepped() const { return shards_ ? shards_->own() : parameters_; }

  /// All processes' samples. Asked for now, while the first pass computes; known when it is called.
  std::function<int64_t()> count(int64_t samples, const Control& control);
  /// The backward pass that comes next is this process's last of the step.
  void last_pass() { buckets_.arm(); }
  /// Gradients are the sums over processes when it returns.
  void reduce(const Control& control) { buckets_.finish(control); }
  /// Metrics of all processes, each the mean over its samples.
  Metrics pooled(const Metrics& mine, const Control& control);
  /// Every process has stepped its parameters; now all have all.
  void stepped_all(const Control& control);

  /// The optimizer's whole state, on the first process.
  NamedTensors optimizer_state(const NamedTensors& own, const Control& control);
  /// The first process's tensors on all of them; see from_first().
  std::map<std::string, at::Tensor> from_first(std::map<std::string, at::Tensor> tensors, const Control& control,
                                               const std::function<bool(const std::string&)>& wanted);

 private:
  std::shared_ptr<Collectives> group_;
  NamedTensors parameters_;
  GradientBuckets buckets_;
  std::unique_ptr<Sharding> shards_;
};

}  // namespace drm
