#include "values.h"

#include <memory>
#include <utility>

namespace drm::binding {

Napi::Value adopt_bytes(Napi::Env env, std::vector<uint8_t>&& bytes) {
  auto owner = std::make_unique<std::vector<uint8_t>>(std::move(bytes));
  const size_t size = owner->size();
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, owner->data(), size, [](napi_env, void*, void* hint) { delete static_cast<std::vector<uint8_t>*>(hint); },
      owner.get(), &buffer);
  if (status == napi_ok) {
    static_cast<void>(owner.release());  // the buffer's finalizer deletes it
    return Napi::Uint8Array::New(env, size, Napi::ArrayBuffer(env, buffer), 0);
  }
  // Runtimes with pointer compression (Electron) forbid memory from outside: one copy there.
  auto copy = Napi::Uint8Array::New(env, size);
  std::copy(owner->begin(), owner->end(), copy.Data());
  return copy;
}

Napi::Object to_js(Napi::Env env, const Progress& progress) {
  auto out = Napi::Object::New(env);
  out["phase"] = progress.phase;
  out["step"] = static_cast<double>(progress.step);
  out["total"] = static_cast<double>(progress.total);
  out["seconds"] = progress.seconds;
  return out;
}

Napi::Array to_js(Napi::Env env, const std::vector<std::string>& texts) {
  auto out = Napi::Array::New(env, texts.size());
  for (uint32_t i = 0; i < texts.size(); ++i) out[i] = texts[i];
  return out;
}

Napi::Float32Array to_js(Napi::Env env, const std::vector<float>& values) {
  auto out = Napi::Float32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), out.Data());
  return out;
}

Napi::Array to_js(Napi::Env env, const std::vector<LoraInfo>& loras) {
  auto out = Napi::Array::New(env, loras.size());
  for (uint32_t i = 0; i < loras.size(); ++i) {
    auto lora = Napi::Object::New(env);
    lora["file"] = loras[i].file;
    lora["spelling"] = loras[i].spelling;
    lora["strength"] = loras[i].strength;
    lora["tensors"] = static_cast<double>(loras[i].tensors);
    lora["layers"] = static_cast<double>(loras[i].layers);
    lora["alphaStated"] = Napi::Boolean::New(env, loras[i].alpha_stated);
    out[i] = lora;
  }
  return out;
}

Napi::Object to_js(Napi::Env env, Event&& event) {
  auto out = Napi::Object::New(env);
  out["kind"] = event.kind;
  for (const auto& [name, value] : event.fields) {
    // A bool must not become a number: the variant's own type decides.
    if (const auto* flag = std::get_if<bool>(&value)) out[name] = Napi::Boolean::New(env, *flag);
    if (const auto* number = std::get_if<double>(&value)) out[name] = *number;
    if (const auto* text = std::get_if<std::string>(&value)) out[name] = *text;
  }
  if (!event.bytes.empty()) out["bytes"] = adopt_bytes(env, std::move(event.bytes));
  return out;
}

void set_numbers(Napi::Object& object, NamedNumbers numbers) {
  for (const auto& [name, value] : numbers) object[name] = static_cast<double>(value);
}

Napi::Object to_js(Napi::Env env, const Failure& failure) {
  auto details = Napi::Object::New(env);
  for (const auto& [name, value] : failure.details) details[name] = value;
  auto out = Napi::Object::New(env);
  out["code"] = code_name(failure.code);
  out["message"] = failure.what();
  out["details"] = details;
  return out;
}

}  // namespace drm::binding
