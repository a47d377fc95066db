#include "live_jobs.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>

namespace drm::binding {
namespace {

/// Long enough for a job between two short steps, short enough for whoever asked to leave now.
constexpr std::chrono::milliseconds kGrace{250};
std::atomic<int> exit_status{0};

/// As cli/common/errors.ts has it for OUT_OF_MEMORY.
constexpr int kNoMemory = 4;
constexpr char kNoThread[] =
    "drm: [memory] expected memory and threads to go on with, found that the system gives no further thread; end other "
    "programs, raise the limits (ulimit -v, ulimit -u), or compute with fewer threads (--threads 1)\n";
thread_local bool is_job = false;

}  // namespace

LiveJobs& LiveJobs::instance() {
  static auto* jobs = new LiveJobs;
  return *jobs;
}

void LiveJobs::add(std::shared_ptr<Control> control) {
  std::lock_guard lock(mutex_);
  controls_.insert(std::move(control));
}

void LiveJobs::remove(const std::shared_ptr<Control>& control) {
  const std::lock_guard lock(mutex_);
  controls_.erase(control);
  changed_.notify_all();
}

void LiveJobs::expect_no_exit() {
  is_job = true;
  static std::once_flag once;
  std::call_once(once, [] {
    std::atexit([] {
      if (!is_job) return;
      [[maybe_unused]] const auto said = write(STDERR_FILENO, kNoThread, sizeof kNoThread - 1);
      std::_Exit(kNoMemory);
    });
  });
}

void LiveJobs::leave_behind() {
  const std::lock_guard lock(mutex_);
  left_behind_ = true;
}

void LiveJobs::prepare_exit(int exit_code) {
  std::unique_lock lock(mutex_);
  if (controls_.empty() && !left_behind_) return;
  for (const auto& control : controls_) control->cancelled = true;
  changed_.wait_for(lock, kGrace, [&] { return controls_.empty(); });
  exit_status = exit_code;
  // Exit handlers run last-registered first: registering now, not at load, puts ours before the destructors of whatever
  // libtorch has created since. Not _Exit right here, since other exit listeners in JavaScript are still to run.
  std::atexit([] { std::_Exit(exit_status.load()); });
}

}  // namespace drm::binding
