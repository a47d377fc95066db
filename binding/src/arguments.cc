#include "arguments.h"

#include <cmath>

namespace drm::binding {
namespace {

[[noreturn]] void bug(const std::string& where, const std::string& expected) {
  throw Failure(Code::Internal,
                "[binding] " + where + ": expected " + expected + "; this is a bug of drm, please report it");
}

bool is_integer(double x) { return std::trunc(x) == x && std::abs(x) <= 9007199254740991.0; }

}  // namespace

Fields::Fields(const Napi::Value& value, std::string where) : where_(std::move(where)) {
  if (!value.IsObject()) bug(where_, "an object");
  object_ = value.As<Napi::Object>();
}

void Fields::wrong(const char* name, const char* expected) const { bug(where_ + "." + name, expected); }

Napi::Value Fields::get(const char* name) const { return object_.Get(name); }

bool Fields::has(const char* name) const {
  const auto value = get(name);
  return !value.IsUndefined() && !value.IsNull();
}

std::string Fields::text(const char* name) const {
  const auto value = get(name);
  if (!value.IsString()) wrong(name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

double Fields::number(const char* name) const {
  const auto value = get(name);
  if (!value.IsNumber()) wrong(name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t Fields::integer(const char* name) const {
  const double value = number(name);
  if (!is_integer(value)) wrong(name, "a whole number");
  return static_cast<int64_t>(value);
}

uint64_t Fields::seed(const char* name) const {
  const auto value = get(name);
  if (!value.IsBigInt()) wrong(name, "a bigint");
  bool lossless = false;
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) wrong(name, "a bigint from 0 to 2^64 - 1");
  return number;
}

bool Fields::flag(const char* name) const {
  const auto value = get(name);
  if (!value.IsBoolean()) wrong(name, "true or false");
  return value.As<Napi::Boolean>().Value();
}

std::vector<int64_t> Fields::token_ids(const char* name) const {
  const auto value = get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_bigint64_array)
    wrong(name, "a BigInt64Array");
  const auto ids = value.As<Napi::BigInt64Array>();
  return {ids.Data(), ids.Data() + ids.ElementLength()};
}

Fields::Bytes Fields::bytes(const char* name) const {
  const auto value = get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    wrong(name, "a Uint8Array");
  const auto bytes = value.As<Napi::Uint8Array>();
  return {bytes.Data(), bytes.ElementLength()};
}

std::vector<float> Fields::floats(const char* name) const {
  const auto value = get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
    wrong(name, "a Float32Array");
  const auto numbers = value.As<Napi::Float32Array>();
  return {numbers.Data(), numbers.Data() + numbers.ElementLength()};
}

std::vector<double> Fields::numbers(const char* name, const char* expected) const {
  const auto value = get(name);
  if (!value.IsArray()) wrong(name, expected);
  const auto array = value.As<Napi::Array>();
  std::vector<double> out;
  out.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value item = array[i];
    if (!item.IsNumber()) wrong(name, expected);
    out.push_back(item.As<Napi::Number>().DoubleValue());
  }
  return out;
}

std::vector<double> Fields::numbers(const char* name) const { return numbers(name, "an array of numbers"); }

std::vector<int64_t> Fields::integers(const char* name) const {
  const char* expected = "an array of whole numbers";
  const auto values = numbers(name, expected);
  std::vector<int64_t> out;
  out.reserve(values.size());
  for (const auto value : values) {
    if (!is_integer(value)) wrong(name, expected);
    out.push_back(static_cast<int64_t>(value));
  }
  return out;
}

std::vector<std::string> Fields::texts(const char* name) const {
  const auto value = get(name);
  if (!value.IsArray()) wrong(name, "an array of strings");
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> out;
  out.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value item = array[i];
    if (!item.IsString()) wrong(name, "an array of strings");
    out.push_back(item.As<Napi::String>().Utf8Value());
  }
  return out;
}

Fields Fields::object(const char* name) const { return Fields(get(name), where_ + "." + name); }

std::vector<Fields> Fields::objects(const char* name) const {
  const auto value = get(name);
  if (!value.IsArray()) wrong(name, "an array of objects");
  const auto array = value.As<Napi::Array>();
  std::vector<Fields> out;
  out.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i)
    out.emplace_back(array.Get(i), where_ + "." + name + "[" + std::to_string(i) + "]");
  return out;
}

Napi::Function listener(const Napi::Value& value) {
  if (!value.IsFunction()) bug("listener", "a function");
  return value.As<Napi::Function>();
}

}  // namespace drm::binding
