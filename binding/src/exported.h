// Functions that the addon exports: each is defined and named in one place.
#pragma once
#include <vector>

#include "guarded.h"
#include "napi_setup.h"

namespace drm::binding {

/// A function under the name that JavaScript calls it by.
struct Exported {
  using Function = Napi::Value (*)(const Napi::CallbackInfo&);
  const char* name;
  Function function;
};

/// All that this library defines, in no order.
inline std::vector<Exported>& exported() {
  static std::vector<Exported> all;
  return all;
}

struct Export {
  Export(const char* name, Exported::Function function) { exported().push_back({name, function}); }
};

}  // namespace drm::binding

/// DRM_EXPORT(loadPipeline) { ... }: the body of a function of `const Napi::CallbackInfo& info`. What it throws becomes
/// a JavaScript error (guarded.h).
#define DRM_EXPORT(name)                                                                        \
  static Napi::Value js_##name(const Napi::CallbackInfo& info);                                 \
  static const ::drm::binding::Export export_##name(#name, ::drm::binding::guarded<js_##name>); \
  static Napi::Value js_##name([[maybe_unused]] const Napi::CallbackInfo& info)
