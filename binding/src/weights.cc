// Weight files: what is inside, by name.
#include "api/single_file.h"
#include "arguments.h"
#include "exported.h"
#include "job.h"
#include "tensor_io/tensor_names.h"
#include "values.h"

namespace drm::binding {

DRM_EXPORT(tensorNames) {
  const Fields request(info[0], "weight files");
  return Job<std::vector<std::string>>::start(
      info.Env(), "drm.tensorNames", listener(info[1]),
      [files = request.texts("files")](Control&) { return tensor_names(files); },
      [](Napi::Env env, std::vector<std::string>&& names) -> Napi::Value { return to_js(env, names); });
}

DRM_EXPORT(componentsInside) {
  const Fields request(info[0], "weight file");
  return Job<std::vector<std::string>>::start(
      info.Env(), "drm.componentsInside", listener(info[1]),
      [file = request.text("file")](Control&) { return components_inside(file); },
      [](Napi::Env env, std::vector<std::string>&& names) -> Napi::Value { return to_js(env, names); });
}

}  // namespace drm::binding
