// Adapter files: inspect, convert, merge.
#include "api/lora_tools.h"
#include "arguments.h"
#include "exported.h"
#include "job.h"
#include "requests.h"
#include "values.h"

namespace drm::binding {
namespace {

Napi::Value inspection_to_js(Napi::Env env, LoraInspection&& all) {
  auto out = Napi::Object::New(env);
  out["file"] = all.file;
  out["spelling"] = all.spelling;
  out["tensors"] = static_cast<double>(all.tensors);
  out["alphaStated"] = Napi::Boolean::New(env, all.alpha_stated);
  out["unmatchedKeys"] = to_js(env, all.unmatched_keys);
  auto layers = Napi::Array::New(env, all.layers.size());
  for (uint32_t i = 0; i < all.layers.size(); ++i) {
    const auto& l = all.layers[i];
    auto layer = Napi::Object::New(env);
    layer["name"] = l.name;
    layer["dtype"] = l.dtype;
    layer["rank"] = static_cast<double>(l.rank);
    layer["in"] = static_cast<double>(l.in);
    layer["out"] = static_cast<double>(l.out);
    layer["alpha"] = l.alpha;
    layer["normA"] = l.norm_a;
    layer["normB"] = l.norm_b;
    layer["normDelta"] = l.norm_delta;
    layers[i] = layer;
  }
  out["layers"] = layers;
  if (all.match) {
    auto match = Napi::Object::New(env);
    match["tensors"] = static_cast<double>(all.match->tensors);
    match["matched"] = static_cast<double>(all.match->matched);
    match["unmatched"] = to_js(env, all.match->unmatched);
    out["match"] = match;
  }
  return out;
}

}  // namespace

DRM_EXPORT(inspectLora) {
  const Fields request(info[0], "lora inspection");
  return Job<LoraInspection>::start(
      info.Env(), "drm.inspectLora", listener(info[1]),
      [file = request.text("file"), transformer = component_from_js(request, "transformer")](Control&) {
        return inspect_lora(file, transformer);
      },
      inspection_to_js);
}

DRM_EXPORT(convertLora) {
  const Fields request(info[0], "lora conversion");
  return Job<bool>::start(
      info.Env(), "drm.convertLora", listener(info[1]),
      [file = request.text("file"), to = request.text("to"), out = request.text("out")](Control&) {
        convert_lora(file, to, out);
        return true;
      },
      nothing);
}

DRM_EXPORT(mergeLoras) {
  const Fields request(info[0], "lora merge");
  return Job<std::vector<LoraInfo>>::start(
      info.Env(), "drm.mergeLoras", listener(info[1]),
      [merge = LoraMerge{component_from_js(request, "transformer"), loras_from_js(request), request.text("out"),
                         request.has("dtype") ? request.text("dtype") : ""}](Control& control) {
        return merge_loras(merge, control);
      },
      [](Napi::Env env, std::vector<LoraInfo>&& loras) -> Napi::Value { return to_js(env, loras); });
}

}  // namespace drm::binding
