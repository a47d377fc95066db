// What the addon exports; addon.cc lists them by name and binding/native.ts mirrors that list.
#pragma once
#include "napi_setup.h"

namespace drm::binding {

Napi::Value build_info(const Napi::CallbackInfo& info);

// runtime.cc
Napi::Value runtime_info_to_js(const Napi::CallbackInfo& info);
Napi::Value set_threads_from_js(const Napi::CallbackInfo& info);

}  // namespace drm::binding
