// RewardModel: load, info, score, dispose.
#include "arguments.h"
#include "exported.h"
#include "job.h"
#include "load.h"
#include "requests.h"
#include "reward_handle.h"
#include "values.h"

namespace drm::binding {
namespace {

ScoreRequest score_from_js(const Fields& fields) {
  ScoreRequest r;
  r.images = bitmaps_from_js(fields, "images");
  r.prompts = prompts_from_js(fields, "prompts");
  r.prompt_of = fields.integers("promptOf");
  r.samples = fields.integers("samples");
  r.timesteps = fields.numbers("timesteps");
  r.draws = fields.integer("draws");
  r.seed = fields.seed("seed");
  r.posterior_sample = fields.flag("posteriorSample");
  r.add_noise = !fields.has("addNoise") || fields.flag("addNoise");
  r.size = fields.has("size") ? fields.integer("size") : 0;
  return r;
}

}  // namespace

DRM_EXPORT(loadRewardModel) {
  const Fields source(info[0], "reward source");
  return load_in_job<RewardModel>(
      info, "drm.loadRewardModel",
      RewardSource{component_from_js(source, "checkpoint"),
                   source.has("base") ? pipeline_source_from_js(source.object("base")) : PipelineSource{}});
}

DRM_EXPORT(rewardModelInfo) {
  const auto model = Handle<RewardModel>::get(info[0], "rewardModelInfo");
  const auto& facts = model->info();
  auto out = model_info_to_js(info.Env(), facts,
                              {{"parameters", facts.parameters},
                               {"layers", facts.layers},
                               {"keepLayers", facts.keep_layers},
                               {"latentChannels", facts.latent_channels},
                               {"t5Length", facts.t5_length},
                               {"size", facts.size}});
  out["schedule"] = to_js(info.Env(), facts.schedule);
  return out;
}

DRM_EXPORT(rewardModelScore) {
  return Job<std::vector<float>>::start(
      info.Env(), "drm.rewardModelScore", listener(info[2]),
      [model = Handle<RewardModel>::get(info[0], "rewardModelScore"),
       request = score_from_js(Fields(info[1], "score"))](Control& control) { return model->score(request, control); },
      [](Napi::Env env, std::vector<float>&& scores) -> Napi::Value { return to_js(env, scores); });
}

DRM_EXPORT(disposeRewardModel) {
  Handle<RewardModel>::dispose(info.Env(), info[0], "disposeRewardModel");
  return info.Env().Undefined();
}

}  // namespace drm::binding
