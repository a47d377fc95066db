// What a long computation may say to, and hear from, whoever started it. No Node here: the binding fills the callbacks.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/failure.h"

namespace drm {

/// Latest wins: a slow listener sees fewer of these, never an older one after a newer one.
struct Progress {
  std::string phase;   // "load", "encode", "denoise", "decode"
  int64_t step = 0;    // finished steps of this phase
  int64_t total = 0;   // 0 when unknown
  double seconds = 0;  // wall time of the phase so far
};

using Value = std::variant<bool, double, std::string>;

/// Never dropped and delivered in order: a finished image, a warning, a checkpoint.
struct Event {
  std::string kind;                                   // "image", "preview", "warning", ...
  std::vector<std::pair<std::string, Value>> fields;  // become properties of the JavaScript object
  std::vector<uint8_t> bytes;                         // becomes its `bytes` (a Uint8Array) when not empty
};

class Control {
 public:
  std::atomic<bool> cancelled{false};
  std::function<void(const Progress&)> on_progress;  // called on the worker's thread
  std::function<void(Event&&)> on_event;             // called on the worker's thread

  /// To be called between denoising steps, VAE tiles and micro-batches. Throws Failure(Cancelled).
  void check() const {
    if (cancelled.load(std::memory_order_relaxed)) throw Failure(Code::Cancelled, "cancelled by the caller");
  }
  void report(const Progress& p) const {
    if (on_progress) on_progress(p);
  }
  void emit(Event&& e) const {
    if (on_event) on_event(std::move(e));
  }
};

}  // namespace drm
