// RewardModel: load, info, score, dispose.
#include "arguments.h"
#include "exports.h"
#include "job.h"
#include "requests.h"
#include "reward_handle.h"

namespace drm::binding {
namespace {

ScoreRequest score_from_js(const Fields& fields) {
  ScoreRequest r;
  r.pictures = bitmaps_from_js(fields, "pictures");
  r.prompts = prompts_from_js(fields, "prompts");
  r.prompt_of = fields.integers("promptOf");
  r.samples = fields.integers("samples");
  r.timestep = fields.number("timestep");
  r.draws = fields.integer("draws");
  r.seed = fields.seed("seed");
  r.posterior_sample = fields.flag("posteriorSample");
  r.size = fields.has("size") ? fields.integer("size") : 0;
  return r;
}

}  // namespace

Napi::Value load_reward_model(const Napi::CallbackInfo& info) {
  const Fields source(info[0], "reward source"), options(info[1], "load options");
  RewardSource s{component_from_js(source, "checkpoint"),
                 source.has("base") ? pipeline_source_from_js(source.object("base")) : PipelineSource{}};
  LoadOptions o{options.text("device"), options.text("dtype")};
  return Job<std::shared_ptr<RewardModel>>::start(
      info.Env(), "drm.loadRewardModel", listener(info[2]),
      [s = std::move(s), o = std::move(o)](Control& control) { return RewardModel::load(s, o, control); },
      [](Napi::Env env, std::shared_ptr<RewardModel>&& model) {
        const auto bytes = model->info().weight_bytes;
        return Handle<RewardModel>::create(env, std::move(model), bytes);
      });
}

Napi::Value reward_model_info(const Napi::CallbackInfo& info) {
  const auto model = Handle<RewardModel>::get(info[0], "rewardModelInfo");
  const auto& facts = model->info();
  auto out = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, int64_t value) { out[name] = static_cast<double>(value); };
  out["device"] = facts.device;
  out["dtype"] = facts.dtype;
  set("parameters", facts.parameters);
  set("weightBytes", facts.weight_bytes);
  set("layers", facts.layers);
  set("keepLayers", facts.keep_layers);
  set("latentChannels", facts.latent_channels);
  set("t5Length", facts.t5_length);
  set("size", facts.size);
  return out;
}

Napi::Value reward_model_score(const Napi::CallbackInfo& info) {
  return Job<std::vector<float>>::start(
      info.Env(), "drm.rewardModelScore", listener(info[2]),
      [model = Handle<RewardModel>::get(info[0], "rewardModelScore"),
       request = score_from_js(Fields(info[1], "score"))](Control& control) { return model->score(request, control); },
      [](Napi::Env env, std::vector<float>&& scores) -> Napi::Value {
        auto out = Napi::Float32Array::New(env, scores.size());
        std::copy(scores.begin(), scores.end(), out.Data());
        return out;
      });
}

Napi::Value dispose_reward_model(const Napi::CallbackInfo& info) {
  Handle<RewardModel>::dispose(info.Env(), info[0], "disposeRewardModel");
  return info.Env().Undefined();
}

}  // namespace drm::binding
