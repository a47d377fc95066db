#include "live_jobs.h"

#include <atomic>
#include <chrono>
#include <cstdlib>

namespace drm::binding {
namespace {

/// Long enough for a job between two short steps, short enough for whoever asked to leave now.
constexpr std::chrono::milliseconds kGrace{250};
std::atomic<int> exit_status{0};

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

void LiveJobs::prepare_exit(int exit_code) {
  std::unique_lock lock(mutex_);
  if (controls_.empty()) return;
  for (const auto& control : controls_) control->cancelled = true;
  changed_.wait_for(lock, kGrace, [&] { return controls_.empty(); });
  exit_status = exit_code;
  // Exit handlers run last-registered first: registering now, not at load, puts ours before the destructors of whatever
  // libtorch has created since. Not _Exit right here, since other exit listeners in JavaScript are still to run.
  std::atexit([] { std::_Exit(exit_status.load()); });
}

}  // namespace drm::binding
