#include "runtime/runtime.h"

#include "api/pipeline.h"
#include "exported.h"

namespace drm::binding {

DRM_EXPORT(runtimeInfo) {
  auto env = info.Env();
  const RuntimeInfo r = runtime_info();
  auto out = Napi::Object::New(env);
  out["libtorch"] = r.libtorch;
  out["cpuCapability"] = r.cpu_capability;
  out["blas"] = r.blas;
  out["attention"] = r.attention;
  out["cpuBf16"] = Napi::Boolean::New(env, r.cpu_bf16);
  out["threads"] = static_cast<double>(r.threads);
  out["cudaBuilt"] = Napi::Boolean::New(env, r.cuda_built);
  out["cudaKernels"] = Napi::Boolean::New(env, r.cuda_kernels);
  out["cudaError"] = r.cuda_error;
  out["cudaNote"] = r.cuda_note;
  auto gpus = Napi::Array::New(env, r.gpus.size());
  for (uint32_t i = 0; i < r.gpus.size(); ++i) {
    const auto& gpu = r.gpus[i];
    auto item = Napi::Object::New(env);
    item["name"] = gpu.name;
    item["capability"] = gpu.capability;
    item["totalBytes"] = static_cast<double>(gpu.total_bytes);
    item["freeBytes"] = static_cast<double>(gpu.free_bytes);
    gpus[i] = item;
  }
  out["gpus"] = gpus;
  return out;
}

DRM_EXPORT(setThreads) {
  const double n = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
  set_threads(n >= 1 && n <= 4096 ? static_cast<int64_t>(n) : 0);
  return info.Env().Undefined();
}

}  // namespace drm::binding
