// Group advantages: arithmetic on the caller's thread, there are a few thousand rewards at most.
#include "arguments.h"
#include "exports.h"
#include "rl/group_advantages.h"

namespace drm::binding {

Napi::Value group_advantages_of(const Napi::CallbackInfo& info) {
  const Fields request(info[0], "advantages");
  const auto result = group_advantages(request.floats("rewards"), request.integers("groups"),
                                       {request.number("epsilon"), request.flag("globalDeviation")});
  auto values = Napi::Float32Array::New(info.Env(), result.values.size());
  std::copy(result.values.begin(), result.values.end(), values.Data());
  auto out = Napi::Object::New(info.Env());
  out["advantages"] = values;
  out["groups"] = static_cast<double>(result.groups);
  out["zeroVariance"] = static_cast<double>(result.zero_variance);
  out["notFinite"] = static_cast<double>(result.not_finite);
  out["mean"] = result.mean;
  out["deviation"] = result.deviation;
  out["groupDeviation"] = result.group_deviation;
  return out;
}

}  // namespace drm::binding
