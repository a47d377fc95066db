#include "exported.h"

namespace drm::binding {
namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  for (const auto& [name, function] : exported()) exports[name] = Napi::Function::New(env, function, name);
  return exports;
}

}  // namespace
}  // namespace drm::binding

NAPI_MODULE_INIT() { return Napi::RegisterModule(env, exports, drm::binding::init); }
