// Weight files: what is inside, by name.
#include "arguments.h"
#include "exports.h"
#include "job.h"
#include "tensor_io/tensor_names.h"
#include "api/single_file.h"
#include "values.h"

namespace drm::binding {

Napi::Value list_tensor_names(const Napi::CallbackInfo& info) {
  const Fields request(info[0], "weight files");
  return Job<std::vector<std::string>>::start(
      info.Env(), "drm.tensorNames", listener(info[1]),
      [files = request.texts("files")](Control&) { return tensor_names(files); },
      [](Napi::Env env, std::vector<std::string>&& names) -> Napi::Value { return to_js(env, names); });
}

Napi::Value list_components_inside(const Napi::CallbackInfo& info) {
  const Fields request(info[0], "weight file");
  return Job<std::vector<std::string>>::start(
      info.Env(), "drm.componentsInside", listener(info[1]),
      [file = request.text("file")](Control&) { return components_inside(file); },
      [](Napi::Env env, std::vector<std::string>&& names) -> Napi::Value { return to_js(env, names); });
}

}  // namespace drm::binding
