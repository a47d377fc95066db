// Wall time.
#pragma once
#include <chrono>

namespace drm {

/// Counts from its making; adds what it counted to `total`, if that is given, at its end.
class Stopwatch {
 public:
  explicit Stopwatch(double* total = nullptr) : total_(total) {}
  ~Stopwatch() {
    if (total_) *total_ += seconds();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  double* total_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace drm
