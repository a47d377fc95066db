// Tensors between the processes of a group. Every process calls the same functions in the same order.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

#include "parallel/process_group.h"

namespace drm {

/// A transfer under way. `wait` returns when its tensor holds the result, on a GPU when what is queued from then on
/// sees it; it throws Failure(PeerLost | Cancelled).
struct Pending {
  std::function<void(const Control&)> wait;
};

class Collectives : public ProcessGroup {
 public:
  /// Tensors are dense and stay untouched until the wait is over; their values are replaced in place.
  virtual Pending all_reduce(const at::Tensor& sum) = 0;
  virtual Pending broadcast(const at::Tensor& tensor, int64_t from) = 0;
};

}  // namespace drm
