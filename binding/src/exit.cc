#include "arguments.h"
#include "exports.h"
#include "live_jobs.h"

namespace drm::binding {

Napi::Value prepare_exit(const Napi::CallbackInfo& info) {
  LiveJobs::instance().prepare_exit(info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : 0);
  return info.Env().Undefined();
}

}  // namespace drm::binding
