// What a job's thread has to say, until the JavaScript thread comes to fetch it.
#pragma once
#include <list>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>

#include "common/control.h"

namespace drm::binding {

using Message = std::variant<Progress, Event>;

/// Events are kept in order. Of a phase's progress only the newest waits, in the place where it was reported, so a slow
/// listener neither holds up the job nor sees progress run backwards, and still hears of every phase that it ended.
class Mailbox {
 public:
  /// True when the JavaScript thread must be notified: nothing is under way to it yet.
  bool put(Progress progress) {
    std::lock_guard lock(mutex_);
    if (waiting_progress_ && std::get<Progress>(**waiting_progress_).phase == progress.phase)
      messages_.erase(*waiting_progress_);
    messages_.emplace_back(std::move(progress));
    waiting_progress_ = std::prev(messages_.end());
    return needs_notification();
  }

  bool put(Event event) {
    std::lock_guard lock(mutex_);
    messages_.emplace_back(std::move(event));
    return needs_notification();
  }

  /// No message follows.
  bool close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    return needs_notification();
  }

  struct Batch {
    std::list<Message> messages;
    bool closed;
  };

  /// JavaScript thread, once per notification.
  Batch take() {
    std::lock_guard lock(mutex_);
    notified_ = false;
    waiting_progress_.reset();
    return {std::exchange(messages_, {}), closed_};
  }

 private:
  bool needs_notification() { return !std::exchange(notified_, true); }

  std::mutex mutex_;
  std::list<Message> messages_;
  std::optional<std::list<Message>::iterator> waiting_progress_;
  bool notified_ = false;
  bool closed_ = false;
};

}  // namespace drm::binding
