#include "exports.h"

namespace drm::binding {
namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  const auto define = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports[name] = Napi::Function::New(env, function, name);
  };
  define("buildInfo", build_info);
  define("runtimeInfo", runtime_info_to_js);
  define("setThreads", set_threads_from_js);
  return exports;
}

}  // namespace
}  // namespace drm::binding

NAPI_MODULE_INIT() { return Napi::RegisterModule(env, exports, drm::binding::init); }
