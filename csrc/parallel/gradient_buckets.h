// Gradients summed over processes while the backward pass still computes others: they are packed into buckets in the
// order in which they come, and a full bucket is sent at once (Li et al. 2020, "PyTorch Distributed").
#pragma once
#include <mutex>
#include <vector>

#include "optim/optimizer.h"
#include "parallel/collectives.h"

namespace drm {

class GradientBuckets {
 public:
  /// `parameters` are leaves; hooks stay on them for this object's life.
  GradientBuckets(NamedTensors parameters, Collectives& group, int64_t bucket_bytes = 25 << 20);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// The next backward pass is this step's last: what it finishes may be sent.
  void arm();
  /// Sends the rest and waits for all. Every gradient is then the sum over processes; one that no process has is
  /// undefined. To be called by every process in every step, whether or not it had samples.
  void finish(const Control& control);

  size_t buckets() const { return buckets_.size(); }
  /// Of the last step: how many were under way before the backward pass had ended.
  size_t sent_early() const { return sent_early_; }

 private:
  struct Bucket {
    at::Tensor flat;
    std::vector<size_t> members;  // indices of parameters
    size_t missing = 0;
    Pending sum;
  };

  void came(size_t parameter);
  void send_full();
  void send(Bucket& bucket);

  NamedTensors parameters_;
  Collectives& group_;
  std::vector<Bucket> buckets_;
  std::vector<size_t> bucket_of_;
  std::vector<at::Tensor> slots_;  // each parameter's part of its bucket, with the parameter's own strides
  at::Tensor present_;             // at the end of the last bucket: how many processes have each gradient
  std::vector<bool> here_;
  size_t next_ = 0;  // buckets are sent in order, the same on all processes
  size_t sent_early_ = 0;
  bool armed_ = false;
  std::mutex mutex_;  // hooks run on autograd's threads
};

}  // namespace drm
