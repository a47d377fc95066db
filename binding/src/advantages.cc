// Advantages: arithmetic on the caller's thread, there are a few thousand rewards at most.
#include "arguments.h"
#include "exported.h"
#include "rl/step_advantages.h"
#include "values.h"

namespace drm::binding {

DRM_EXPORT(stepAdvantages) {
  const Fields request(info[0], "advantages");
  const auto result = step_advantages(
      {request.floats("rewards"), request.integer("steps"), request.integer("candidates"), request.integers("groups")},
      {request.number("epsilon"), request.flag("globalDeviation")});
  auto statistics = Napi::Array::New(info.Env(), result.statistics.size());
  for (uint32_t i = 0; i < result.statistics.size(); ++i) {
    const auto& s = result.statistics[i];
    auto of_step = Napi::Object::New(info.Env());
    of_step["groups"] = static_cast<double>(s.groups);
    of_step["zeroVariance"] = static_cast<double>(s.zero_variance);
    of_step["notFinite"] = static_cast<double>(s.not_finite);
    of_step["mean"] = s.mean;
    of_step["deviation"] = s.deviation;
    of_step["groupDeviation"] = s.group_deviation;
    statistics[i] = of_step;
  }
  auto out = Napi::Object::New(info.Env());
  out["advantages"] = to_js(info.Env(), result.values);
  out["statistics"] = statistics;
  return out;
}

}  // namespace drm::binding
