// Long-lived native objects in JavaScript's hands: externals around a shared_ptr, tagged with their type, so that a
// wrong handle is refused instead of being read as something else.
//
// A job takes its own shared_ptr, so dispose() and garbage collection during a job only drop JavaScript's reference.
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "common/failure.h"
#include "napi_setup.h"

namespace drm::binding {

/// Specialised per type: `name` for messages, and a `tag` of 128 random bits.
template <class T>
struct HandleType;

template <class T>
class Handle {
 public:
  /// `bytes` is what the object keeps allocated outside the JavaScript heap; the collector should know.
  static Napi::Value create(Napi::Env env, std::shared_ptr<T> object, int64_t bytes) {
    auto* holder = new Handle{std::move(object), bytes};
    auto external = Napi::External<Handle>::New(env, holder, [](Napi::Env at_env, Handle* dying) {
      dying->drop(at_env);
      delete dying;
    });
    external.TypeTag(&HandleType<T>::tag);
    Napi::MemoryManagement::AdjustExternalMemory(env, bytes);
    return external;
  }

  /// The object itself. Throws Failure(BadRequest) for anything but a live handle of this type.
  static std::shared_ptr<T> get(const Napi::Value& value, const char* where) {
    auto object = holder(value, where)->object_;
    if (!object)
      throw Failure(Code::BadRequest, std::string("[") + where + "] expected a live " + HandleType<T>::name +
                                          ", found one that was disposed; load it again");
    return object;
  }

  /// Drops JavaScript's reference; a second time is not an error.
  static void dispose(Napi::Env env, const Napi::Value& value, const char* where) { holder(value, where)->drop(env); }

 private:
  Handle(std::shared_ptr<T> object, int64_t bytes) : object_(std::move(object)), bytes_(bytes) {}

  static Handle* holder(const Napi::Value& value, const char* where) {
    const auto refuse = [&] {
      throw Failure(Code::BadRequest, std::string("[") + where + "] expected a handle of a " + HandleType<T>::name +
                                          ", found something else");
    };
    if (!value.IsExternal()) refuse();
    const auto external = value.As<Napi::External<Handle>>();
    if (!external.CheckTypeTag(&HandleType<T>::tag)) refuse();
    return external.Data();
  }

  void drop(Napi::Env env) {
    if (!object_) return;
    object_.reset();
    Napi::MemoryManagement::AdjustExternalMemory(env, -bytes_);
  }

  std::shared_ptr<T> object_;
  int64_t bytes_;
};

}  // namespace drm::binding
