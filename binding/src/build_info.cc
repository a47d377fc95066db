#include "build_info.h"

#include "exported.h"

namespace drm::binding {

DRM_EXPORT(buildInfo) {
  auto out = Napi::Object::New(info.Env());
  out["libtorch"] = DRM_LIBTORCH_BUILD;
  out["libtorchPath"] = DRM_LIBTORCH_PATH;
  out["sourceHash"] = DRM_SOURCE_HASH;
  out["compiler"] = DRM_COMPILER;
  out["cuda"] = Napi::Boolean::New(info.Env(), DRM_CUDA != 0);
  return out;
}

}  // namespace drm::binding
