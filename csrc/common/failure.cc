#include "common/failure.h"

#include <c10/util/Exception.h>

#include <new>
#include <regex>

#include "common/messages.h"

namespace drm {
namespace {

constexpr const char* kKnob =
    "lower --batch, --size or --n, use --dtype bf16, give the text encoders back with --free-encoders, or set --tile "
    "for a large image";

Failure out_of_memory(const std::string& message) {
  // libtorch's allocators say how much they were asked for: "you tried to allocate 123 bytes", "Tried to allocate 2.00
  // GiB".
  std::smatch match;
  std::string asked = "an allocation";
  Details details{{"knob", kKnob}};
  if (std::regex_search(message, match, std::regex("[Tt]ried to allocate ([0-9.]+ ?[A-Za-z]+)"))) {
    asked = match[1];
    details["bytes"] = match[1];
  }
  return Failure(Code::OutOfMemory, "[memory] expected room for " + asked + ", found too little memory; " + kKnob,
                 details);
}

bool means_out_of_memory(const std::string& message) {
  // The last two are the system's: no memory, or no further thread.
  for (const char* sign : {"DefaultCPUAllocator", "not enough memory", "out of memory", "can't allocate memory",
                           "Cannot allocate memory", "Resource temporarily unavailable"})
    if (message.find(sign) != std::string::npos) return true;
  return false;
}

}  // namespace

const char* code_name(Code code) {
  switch (code) {
    case Code::Cancelled:
      return "CANCELLED";
    case Code::OutOfMemory:
      return "OUT_OF_MEMORY";
    case Code::BadFile:
      return "BAD_FILE";
    case Code::BadConfig:
      return "BAD_CONFIG";
    case Code::BadShape:
      return "BAD_SHAPE";
    case Code::KeysMismatch:
      return "KEYS_MISMATCH";
    case Code::BadRequest:
      return "BAD_REQUEST";
    case Code::NotFinite:
      return "NOT_FINITE";
    case Code::Device:
      return "DEVICE";
    case Code::PeerLost:
      return "PEER_LOST";
    case Code::Disk:
      return "DISK";
    case Code::Environment:
      return "ENVIRONMENT";
    case Code::Internal:
      return "INTERNAL";
  }
  return "INTERNAL";
}

void rethrow_as_failure(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const Failure&) {
    throw;
  } catch (const c10::OutOfMemoryError& e) {
    throw out_of_memory(e.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    throw out_of_memory("");
  } catch (const c10::Error& e) {
    const std::string message = e.what_without_backtrace();
    if (means_out_of_memory(message)) throw out_of_memory(message);
    throw Failure(Code::Internal, "[libtorch] " + first_line(message));
  } catch (const std::exception& e) {
    if (means_out_of_memory(e.what())) throw out_of_memory(e.what());
    throw Failure(Code::Internal, e.what());
  } catch (...) {
    throw Failure(Code::Internal, "an error of unknown kind");
  }
}

}  // namespace drm
