// JavaScript values to C++ values. index.ts and its callers have checked what users typed, so a missing or mistyped
// field here is a bug of ours: Failure(Internal) naming the field.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "common/failure.h"
#include "common/settings.h"
#include "napi_setup.h"

namespace drm::binding {

/// One JavaScript object being read; `where` names it in messages, e.g. "sample request".
class Fields {
 public:
  Fields(const Napi::Value& value, std::string where);

  bool has(const char* name) const;  // neither missing, undefined nor null
  std::string text(const char* name) const;
  double number(const char* name) const;
  int64_t integer(const char* name) const;  // a number without fraction, exactly representable
  uint64_t seed(const char* name) const;    // a bigint in [0, 2^64)
  bool flag(const char* name) const;
  std::vector<int64_t> token_ids(const char* name) const;  // BigInt64Array, copied: the caller may reuse it
  struct Bytes {
    const uint8_t* data;
    size_t size;
  };
  Bytes bytes(const char* name) const;                    // Uint8Array, not copied: to be read on the JavaScript thread
  std::vector<float> floats(const char* name) const;      // Float32Array, copied
  std::vector<double> numbers(const char* name) const;    // array of numbers
  std::vector<int64_t> integers(const char* name) const;  // array of numbers without fraction
  std::vector<std::string> texts(const char* name) const;
  Fields object(const char* name) const;
  std::vector<Fields> objects(const char* name) const;
  Napi::Value value(const char* name) const { return get(name); }  // as it is: for Handle::get

 private:
  Napi::Value get(const char* name) const;
  std::vector<double> numbers(const char* name, const char* expected) const;
  [[noreturn]] void wrong(const char* name, const char* expected) const;

  Napi::Object object_;
  std::string where_;
};

/// Reads settings by a spec's list of them (each_setting() in train/spec.h); others that the object has are not its
/// affair.
class SettingsReader {
 public:
  explicit SettingsReader(const Fields& from) : from_(from) {}
  void operator()(const char* name, bool& value) const { value = from_.flag(name); }
  void operator()(const char* name, double& value) const { value = from_.number(name); }
  void operator()(const char* name, int64_t& value) const { value = from_.integer(name); }
  void operator()(const char* name, std::string& value) const { value = from_.text(name); }
  void operator()(const char* name, std::vector<std::string>& value) const { value = from_.texts(name); }
  void operator()(const char* name, std::string& value, std::initializer_list<const char*>) const {
    value = from_.text(name);
  }
  template <class T>
  void optional(const char* name, T& value) const {
    if (from_.has(name)) (*this)(name, value);
  }

 private:
  const Fields& from_;
};
template <class Spec>
void read_settings(const Fields& from, Spec& spec) {
  each_setting(spec, SettingsReader(from));
  check_settings(spec, "settings");
}

/// The listener argument of a job.
Napi::Function listener(const Napi::Value& value);

}  // namespace drm::binding
