// Loading a model in a job, for every type with info().weight_bytes.
#pragma once
#include <memory>
#include <utility>

#include "api/pipeline.h"
#include "arguments.h"
#include "handle.h"
#include "job.h"
#include "requests.h"

namespace drm::binding {

/// { device, dtype, loras? }.
inline LoadOptions load_options_from_js(const Napi::Value& value) {
  const Fields fields(value, "load options");
  return {fields.text("device"), fields.text("dtype"), loras_from_js(fields)};
}

/// `load(source, options, control)`. Arguments of the call: the source, which the caller has read, load options, a
/// listener.
template <class T, class Source, class Load>
Napi::Value load_with(const Napi::CallbackInfo& info, const char* name, Load load, Source source) {
  return Job<std::shared_ptr<T>>::start(
      info.Env(), name, listener(info[2]),
      [load, source = std::move(source), options = load_options_from_js(info[1])](Control& control) {
        return load(source, options, control);
      },
      [](Napi::Env env, std::shared_ptr<T>&& object) {
        const int64_t bytes = object->info().weight_bytes;
        return Handle<T>::create(env, std::move(object), bytes);
      });
}
/// The same by T::load().
template <class T, class Source>
Napi::Value load_in_job(const Napi::CallbackInfo& info, const char* name, Source source) {
  return load_with<T>(info, name, T::load, std::move(source));
}

}  // namespace drm::binding
