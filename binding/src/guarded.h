// Wraps every exported function: a Failure thrown on the JavaScript thread becomes a JavaScript Error with code and
// details, from which native.ts makes the DrmError.
#pragma once
#include <exception>

#include "napi_setup.h"

namespace drm::binding {

[[noreturn]] void throw_to_js(Napi::Env env, std::exception_ptr error);

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return function(info);
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw_to_js(info.Env(), std::current_exception());
  }
}

}  // namespace drm::binding
