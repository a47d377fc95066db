#include "live_jobs.h"

#include <atomic>
#include <cstdlib>

namespace drm::binding {
namespace {

/// Long enough for a job between two short steps, short enough for whoever asked to leave now.
constexpr std::chrono::milliseconds kGrace{250};
std::atomic<int> exit_status{0};

void leave_without_static_destruction_when_busy() {
  if (!LiveJobs::instance().wait_until_none(kGrace)) std::_Exit(exit_status.load());
}

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
  std::lock_guard lock(mutex_);
  controls_.erase(control);
}

void LiveJobs::remove_at_thread_end(const std::shared_ptr<Control>& control) {
  std::unique_lock lock(mutex_);
  controls_.erase(control);
  std::notify_all_at_thread_exit(changed_, std::move(lock));
}

void LiveJobs::cancel_all() {
  std::lock_guard lock(mutex_);
  for (const auto& control : controls_) control->cancelled = true;
}

bool LiveJobs::wait_until_none(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return controls_.empty(); });
}

void LiveJobs::prepare_exit(int exit_code) {
  exit_status = exit_code;
  cancel_all();
  // Handlers run last-registered first, so registering now, not at load, puts ours before the destructors of everything
  // that libtorch has created since.
  std::atexit(leave_without_static_destruction_when_busy);
}

}  // namespace drm::binding
