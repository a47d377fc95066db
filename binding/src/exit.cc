#include "arguments.h"
#include "exported.h"
#include "live_jobs.h"

namespace drm::binding {

DRM_EXPORT(prepareExit) {
  LiveJobs::instance().prepare_exit(info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : 0);
  return info.Env().Undefined();
}

}  // namespace drm::binding
