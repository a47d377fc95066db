// describeModel: what a model says of itself, on the caller's thread: configs and shapes, no weights.
#include "api/describe_model.h"
#include "arguments.h"
#include "exported.h"
#include "requests.h"
#include "values.h"

namespace drm::binding {

DRM_EXPORT(describeModel) {
  const Fields request(info[0], "model to describe");
  DescribeRequest r;
  if (request.has("source")) r.source = pipeline_source_from_js(request.object("source"));
  r.checkpoint = component_from_js(request, "checkpoint");
  if (request.has("size")) r.size = request.integer("size");
  if (request.has("textTokens")) r.text_tokens = request.integer("textTokens");
  const auto d = describe_model(r);
  auto out = Napi::Object::New(info.Env());
  out["className"] = d.class_name;
  set_numbers(out, {{"inChannels", d.in_channels},
                    {"patchSize", d.patch_size},
                    {"layers", d.layers},
                    {"runLayers", d.run_layers},
                    {"width", d.width},
                    {"sequenceWidth", d.sequence_width},
                    {"pooledWidth", d.pooled_width},
                    {"vaeFactor", d.vae_factor},
                    {"vaeChannels", d.vae_channels},
                    {"sizeUnit", d.size_unit},
                    {"defaultSize", d.default_size},
                    {"largestSize", d.largest_size}});
  auto shape = Napi::Object::New(info.Env());
  for (const auto& [name, value] : d.shape) shape[name] = static_cast<double>(value);
  out["shape"] = shape;
  out["linearLayers"] = to_js(info.Env(), d.linear_layers);
  out["parameters"] = d.parameters;
  auto cost = Napi::Object::New(info.Env());
  cost["operations"] = d.operations;
  cost["weights"] = d.weights;
  cost["working"] = d.working;
  cost["kept"] = d.kept;
  cost["checkpointed"] = d.checkpointed;
  out["passCost"] = cost;
  out["latentNumbers"] = d.latent_numbers;
  return out;
}

}  // namespace drm::binding
