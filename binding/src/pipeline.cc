// Pipeline: load, info, sample, dispose.
#include "api/pipeline.h"

#include "arguments.h"
#include "exported.h"
#include "handle.h"
#include "job.h"
#include "load.h"
#include "requests.h"
#include "reward_handle.h"
#include "scorer_handle.h"
#include "values.h"

namespace drm::binding {

template <>
struct HandleType<Pipeline> {
  static constexpr const char* name = "pipeline";
  static constexpr napi_type_tag tag = {0x5b0c7c2fd3a94e18, 0x9f31e6a4087bd25c};
};

namespace {

SampleRequest request_from_js(const Napi::Value& value) {
  const Fields fields(value, "sample request");
  SampleRequest request;
  request.prompts = prompts_from_js(fields, "prompts");
  request.negatives = prompts_from_js(fields, "negatives");
  for (const auto& image : fields.objects("images"))
    request.images.push_back({image.integer("prompt"), image.integer("negative"), image.seed("seed")});
  request.steps = fields.integer("steps");
  request.guidance = fields.number("guidance");
  request.height = fields.integer("height");
  request.width = fields.integer("width");
  request.t5_length = fields.integer("t5Length");
  request.batch = fields.integer("batch");
  if (fields.has("skipLayers")) {
    const auto skip = fields.object("skipLayers");
    request.skip_layers = {skip.integers("layers"), skip.number("scale"), skip.number("start"), skip.number("stop")};
  }
  if (fields.has("stepwise")) {
    const auto stepwise = fields.object("stepwise");
    auto& s = request.stepwise.emplace();
    if (stepwise.has("reward")) s.reward = Handle<RewardModel>::get(stepwise.value("reward"), "sample");
    if (stepwise.has("guide")) {
      const auto guide = stepwise.object("guide");
      auto& g = s.guide.emplace();
      g.scorer = Handle<Scorer>::get(guide.value("scorer"), "sample");
      for (const auto& row : guide.objects("rows")) g.rows.push_back(row.token_ids("ids"));
      g.row_of = guide.integers("rowOf");
      g.factor = guide.number("factor");
    }
    if (stepwise.has("prompts")) s.prompts = prompts_from_js(stepwise, "prompts");
    s.k = stepwise.integer("k");
    s.noise_level = stepwise.number("noiseLevel");
    s.temperature = stepwise.number("temperature");
    s.score_from = stepwise.number("scoreFrom");
    s.score_until = stepwise.number("scoreUntil");
    s.trace = stepwise.flag("trace");
  }
  if (fields.has("initLatents")) {
    const auto init = fields.object("initLatents");
    request.init_latents = init.text("file");
    request.init_tensor = init.text("tensor");
  }
  if (fields.has("saveLatents")) request.save_latents = fields.text("saveLatents");
  request.free_encoders = fields.flag("freeEncoders");
  request.decode = fields.flag("decode");
  request.preview_every = fields.integer("previewEvery");
  request.tile = fields.integer("tile");
  return request;
}

Napi::Object info_to_js(Napi::Env env, const PipelineInfo& info) {
  auto out = model_info_to_js(env, info,
                              {{"transformerParameters", info.transformer_parameters},
                               {"vaeParameters", info.vae_parameters},
                               {"textEncoderParameters", info.text_encoder_parameters},
                               {"layers", info.layers},
                               {"width", info.width},
                               {"latentChannels", info.latent_channels},
                               {"vaeFactor", info.vae_factor},
                               {"patch", info.patch},
                               {"defaultSize", info.default_size}});
  out["hasT5"] = Napi::Boolean::New(env, info.has_t5);
  out["attention"] = info.attention;
  out["loras"] = to_js(env, info.loras);
  return out;
}

Napi::Object summary_to_js(Napi::Env env, const SampleSummary& summary) {
  auto out = Napi::Object::New(env);
  out["images"] = static_cast<double>(summary.images);
  out["width"] = static_cast<double>(summary.width);
  out["height"] = static_cast<double>(summary.height);
  out["batches"] = static_cast<double>(summary.batches);
  out["encodeSeconds"] = summary.encode_seconds;
  out["denoiseSeconds"] = summary.denoise_seconds;
  out["decodeSeconds"] = summary.decode_seconds;
  out["secondsPerStep"] = summary.seconds_per_step;
  out["policySeconds"] = summary.policy_seconds;
  out["rewardSeconds"] = summary.reward_seconds;
  out["branchSeconds"] = summary.branch_seconds;
  return out;
}

}  // namespace

DRM_EXPORT(loadPipeline) {
  return load_in_job<Pipeline>(info, "drm.loadPipeline", pipeline_source_from_js(Fields(info[0], "pipeline source")));
}

DRM_EXPORT(pipelineInfo) { return info_to_js(info.Env(), Handle<Pipeline>::get(info[0], "pipelineInfo")->info()); }

DRM_EXPORT(sample) {
  return Job<SampleSummary>::start(
      info.Env(), "drm.sample", listener(info[2]),
      [pipeline = Handle<Pipeline>::get(info[0], "sample"), request = request_from_js(info[1])](Control& control) {
        return pipeline->sample(request, control);
      },
      [](Napi::Env env, SampleSummary&& summary) -> Napi::Value { return summary_to_js(env, summary); });
}

DRM_EXPORT(disposePipeline) {
  Handle<Pipeline>::dispose(info.Env(), info[0], "disposePipeline");
  return info.Env().Undefined();
}

}  // namespace drm::binding
