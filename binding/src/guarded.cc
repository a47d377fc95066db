#include "guarded.h"

#include "common/failure.h"
#include "values.h"

namespace drm::binding {

void throw_to_js(Napi::Env env, std::exception_ptr error) {
  try {
    rethrow_as_failure(error);
  } catch (const Failure& failure) {
    auto thrown = Napi::Error::New(env, failure.what());
    const auto described = to_js(env, failure);
    thrown.Set("code", described.Get("code"));
    thrown.Set("details", described.Get("details"));
    throw thrown;
  }
}

}  // namespace drm::binding
