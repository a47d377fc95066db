// Every job of this process, for the moment when the process exits.
//
// Node leaves through exit() without tearing its main environment down: the addon's cleanup hooks do not run, while the
// C++ runtime destroys libtorch's static objects under the feet of a job that still computes with them.
#pragma once
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
  /// To be called last on the job's thread.
  void remove(const std::shared_ptr<Control>& control);

  /// To be called first on the job's thread. Nothing of ours ends the process from there, but libgomp does where the
  /// system gives it no further thread: the process then ends as for lack of memory, in words and by exit code.
  static void expect_no_exit();

  /// A thread was left behind in a call that may have no end: the process is to end without static destruction.
  void leave_behind();

  /// To be called when the process is about to exit. Cancels all jobs, gives them a moment to end, and, when there were
  /// any, has the process end without static destruction: a job may still be inside a long step, and threads that have
  /// ended their job still destroy their thread-local objects.
  void prepare_exit(int exit_code);

 private:
  std::mutex mutex_;
  bool left_behind_ = false;
  std::condition_variable changed_;
  std::set<std::shared_ptr<Control>> controls_;
};

}  // namespace drm::binding
