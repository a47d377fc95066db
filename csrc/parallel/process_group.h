// The processes that train one model together, as whoever starts them sees it: plain data, no torch header.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/control.h"

namespace drm {

/// A process's place, as torchrun, Slurm and Kubernetes operators say it by environment variables.
struct GroupPlace {
  int64_t rank = 0, size = 1;
  std::string address;          // MASTER_ADDR: where the store is that all meet at
  int64_t port = 0;             // MASTER_PORT
  bool store_is_there = false;  // the launcher hosts it (torchrun); otherwise the first process does
  std::string attempt;          // tells apart the attempts of a launcher that restarts processes
  double patience = 600;        // seconds until all must have come
};

class ProcessGroup {
 public:
  /// Waits for all processes. Throws Failure(PeerLost) when some do not come, Failure(Device) when the address cannot
  /// be used or this build has no c10d.
  static std::shared_ptr<ProcessGroup> join(const GroupPlace& place, Control& control);
  virtual ~ProcessGroup() = default;

  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  /// What each process has said, by rank. All must call it, in the same order among their collective calls. Throws
  /// Failure(PeerLost) naming the process that is gone.
  virtual std::vector<std::string> exchange(const std::string& mine, const Control& control) = 0;
  /// Returns when this process leaves; throws Failure(PeerLost | Cancelled) as soon as another one is gone before that.
  virtual void watch(const Control& control) = 0;
  /// Says goodbye: `code` and `message` are the error that ends this process, empty at a good end. The others are told;
  /// the process that hosts the store waits a moment for them to hear it. No call but this one may follow.
  virtual void leave(const std::string& code, const std::string& message) = 0;
};

/// What this build can connect processes with.
struct ParallelInfo {
  std::string cpu;  // "Gloo" or empty
  std::string gpu;  // "NCCL" or empty: GPUs' tensors then go through Gloo, by way of main memory
};
ParallelInfo parallel_info();

}  // namespace drm
