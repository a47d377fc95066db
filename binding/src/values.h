// C++ values to JavaScript values.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "api/pipeline.h"
#include "common/control.h"
#include "napi_setup.h"

namespace drm::binding {

/// Hands the vector's own memory to JavaScript; nobody here touches it afterwards.
Napi::Value adopt_bytes(Napi::Env env, std::vector<uint8_t>&& bytes);

Napi::Object to_js(Napi::Env env, const Progress& progress);
Napi::Object to_js(Napi::Env env, Event&& event);

Napi::Array to_js(Napi::Env env, const std::vector<std::string>& texts);
Napi::Float32Array to_js(Napi::Env env, const std::vector<float>& values);

/// See LoraInfo in binding/types.ts.
Napi::Array to_js(Napi::Env env, const std::vector<LoraInfo>& loras);

using NamedNumbers = std::initializer_list<std::pair<const char*, int64_t>>;

void set_numbers(Napi::Object& object, NamedNumbers numbers);

/// What every loaded model says of itself, and what this kind has beside.
template <class Info>
Napi::Object model_info_to_js(Napi::Env env, const Info& info, NamedNumbers more) {
  auto out = Napi::Object::New(env);
  out["device"] = info.device;
  out["dtype"] = info.dtype;
  set_numbers(out, {{"weightBytes", info.weight_bytes}});
  set_numbers(out, more);
  return out;
}

/// { code, message, details }: index.ts makes the DrmError of it.
Napi::Object to_js(Napi::Env env, const Failure& failure);

}  // namespace drm::binding
