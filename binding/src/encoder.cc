// DataSetEncoder: load, latents, prompts, dispose.
#include "api/data_set_encoder.h"
#include "arguments.h"
#include "exported.h"
#include "handle.h"
#include "job.h"
#include "load.h"
#include "requests.h"

namespace drm::binding {

template <>
struct HandleType<DataSetEncoder> {
  static constexpr const char* name = "encoder";
  static constexpr napi_type_tag tag = {0x0f7b52d94ce86a31, 0x9d14e5c6a3702b8f};
};

DRM_EXPORT(loadEncoder) {
  const Fields request(info[0], "encoder");
  return Job<std::shared_ptr<DataSetEncoder>>::start(
      info.Env(), "drm.loadEncoder", listener(info[2]),
      [source = pipeline_source_from_js(request.object("source")), t5_length = request.integer("t5Length"),
       o = load_options_from_js(info[1])](Control& control) {
        return DataSetEncoder::load(source, t5_length, o, control);
      },
      [](Napi::Env env, std::shared_ptr<DataSetEncoder>&& encoder) {
        return Handle<DataSetEncoder>::create(env, std::move(encoder), 0);
      });
}

DRM_EXPORT(encodeLatents) {
  const Fields request(info[1], "latents");
  return Job<bool>::start(
      info.Env(), "drm.encodeLatents", listener(info[2]),
      [encoder = Handle<DataSetEncoder>::get(info[0], "encodeLatents"), batch = batch_from_js(request.object("batch")),
       path = request.text("path")](Control&) {
        encoder->latents(batch, path);
        return true;
      },
      nothing);
}

DRM_EXPORT(encodePrompts) {
  const Fields request(info[1], "prompts");
  return Job<bool>::start(
      info.Env(), "drm.encodePrompts", listener(info[2]),
      [encoder = Handle<DataSetEncoder>::get(info[0], "encodePrompts"), prompts = prompts_from_js(request, "prompts"),
       path = request.text("path")](Control& control) {
        encoder->prompts(prompts, path, control);
        return true;
      },
      nothing);
}

DRM_EXPORT(disposeEncoder) {
  Handle<DataSetEncoder>::dispose(info.Env(), info[0], "disposeEncoder");
  return info.Env().Undefined();
}

}  // namespace drm::binding
