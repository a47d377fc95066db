// Every job of this process, for the moment when the process exits.
//
// Node leaves through exit() without tearing its main environment down: the addon's cleanup hooks do not run, while the
// C++ runtime destroys libtorch's static objects under the feet of a job that still computes with them.
#pragma once
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>

#include "common/control.h"

namespace drm::binding {

class LiveJobs {
 public:
  /// One per process, whatever the number of environments; holds no JavaScript value. Never destroyed, since threads
  /// may outlive static destruction.
  static LiveJobs& instance();

  void add(std::shared_ptr<Control> control);
  /// For a job whose thread was never started.
  void remove(const std::shared_ptr<Control>& control);
  /// To be called last on the job's thread: waiters are told after its thread-local objects are gone.
  void remove_at_thread_end(const std::shared_ptr<Control>& control);
  void cancel_all();
  bool wait_until_none(std::chrono::milliseconds limit);

  /// To be called when the process is about to exit: cancels all jobs and makes sure that static destruction starts
  /// after they have ended, or not at all: a job that is inside a long step leaves with the process.
  void prepare_exit(int exit_code);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::shared_ptr<Control>> controls_;
};

}  // namespace drm::binding
