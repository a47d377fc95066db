// ZeRO-1 (Rajbhandari et al. 2020): each process keeps the optimizer's state of some parameters, steps those, and gives
// the others their new values.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "optim/optimizer.h"
#include "parallel/collectives.h"

namespace drm {

class Sharding {
 public:
  /// Whole parameters are dealt out, the largest first, each to the process that has least: a function of their sizes.
  Sharding(NamedTensors parameters, Collectives& group);

  /// Those that this process steps.
  const NamedTensors& own() const { return own_; }
  /// After a step: every process gets every parameter from its owner.
  void share(const Control& control);
  /// The states of all processes, on the first one, in main memory; nothing on the others. `own` is this process's.
  NamedTensors gather(const NamedTensors& own, const Control& control);

 private:
  NamedTensors parameters_, own_;
  Collectives& group_;
  std::vector<std::vector<size_t>> of_rank_;
};

/// Gives all processes the first one's tensors, of whatever names and shapes, in main memory; those that `wanted`
/// names. The others pass an empty map.
std::map<std::string, at::Tensor> from_first(std::map<std::string, at::Tensor> tensors, Collectives& group,
                                             at::Device device, const Control& control,
                                             const std::function<bool(const std::string&)>& wanted);

}  // namespace drm
