// The one exception type that the core throws on purpose.
//
// A message says, in this order: where, what was expected, what was found, what to do next, for example
//   "[load] transformer_blocks.3.attn.to_q.weight in m.safetensors: expected shape (1536, 1536), found (2432, 2432);
//    these look like SD3.5-Large weights: use its config.json"
#pragma once
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace drm {

enum class Code {
  Cancelled,     // the caller asked for it
  OutOfMemory,   // of the device or of the host; details: bytes, knob
  BadFile,       // unreadable, truncated, corrupt or not of the expected kind; details: file
  BadConfig,     // a model or scheduler config that is missing a field or asks for something unknown
  BadShape,      // one tensor of the wrong shape; details: key, expected, found
  KeysMismatch,  // missing, unexpected or mis-shaped tensors; details lists all of them
  BadRequest,    // the call's own arguments: negative steps, size not a multiple, ...
  NotFinite,     // NaN or infinity where numbers were due; details: step
  Device,        // no such device, or it failed
  PeerLost,      // another process of the same training is gone; details: rank
  Disk,          // a file that cannot be written: full, read-only, no permission; a disk that fails; details: file
  Environment,   // the system gives this process no more: open files
  Internal,      // a bug of ours
};

/// The stable spelling that JavaScript sees as `DrmError.code`, e.g. "BAD_FILE".
const char* code_name(Code code);

using Details = std::map<std::string, std::string>;

struct Failure : std::runtime_error {
  Failure(Code c, const std::string& message, Details d = {})
      : std::runtime_error(message), code(c), details(std::move(d)) {}
  Code code;
  Details details;
};

/// Runs `work` and turns anything it throws (libtorch errors, bad_alloc, ...) into a Failure: out-of-memory becomes
/// OutOfMemory, everything unknown Internal. Always throws.
[[noreturn]] void rethrow_as_failure(std::exception_ptr error);

/// What `work` gives; what it throws comes out as a Failure.
template <class Work>
auto guarded(Work&& work) {
  try {
    return work();
  } catch (...) {
    rethrow_as_failure(std::current_exception());
  }
}

}  // namespace drm
