// Trainer: create, step, evaluate, caches, previews, save, restore, export, dispose.
#include "api/training.h"
#include "arguments.h"
#include "exported.h"
#include "group_handle.h"
#include "handle.h"
#include "job.h"
#include "requests.h"
#include "reward_handle.h"
#include "values.h"

namespace drm::binding {

template <>
struct HandleType<PolicyTraining> {
  static constexpr const char* name = "policy";
  static constexpr napi_type_tag tag = {0x71e0c95a42bd4f06, 0x8c3d6a1f95e27b40};
};

template <>
struct HandleType<Training> {
  static constexpr const char* name = "trainer";
  static constexpr napi_type_tag tag = {0x2c4be1a70d5f4893, 0xa6d20f9b31c87e54};
};

namespace {

TrainerOptions options_from_js(const Fields& fields) {
  TrainerOptions o;
  o.device = fields.text("device");
  o.dtype = fields.text("dtype");
  o.seed = fields.seed("seed");
  read_settings(fields.object("settings"), o);
  return o;
}

template <class Spec>
Spec spec_from_js(const Fields& fields) {
  Spec spec;
  read_settings(fields.object("settings"), spec);
  if constexpr (requires { spec.source; }) {
    spec.source = pipeline_source_from_js(fields.object("source"));
  } else {
    spec.config = fields.text("config");
    spec.weights = fields.texts("weights");
  }
  if constexpr (requires { spec.checkpoint; }) spec.checkpoint = component_from_js(fields, "checkpoint");
  return spec;
}

ObjectiveSpec objective_from_js(const Fields& fields) {
  const auto kind = fields.text("kind");
  if (kind == "vae") return spec_from_js<VaeSpec>(fields);
  if (kind == "clip") return spec_from_js<ClipSpec>(fields);
  if (kind == "scorer") return spec_from_js<ScorerSpec>(fields);
  if (kind == "flow") return spec_from_js<FlowSpec>(fields);
  if (kind == "reward") return spec_from_js<RewardSpec>(fields);
  throw Failure(Code::Internal, "[binding] objective.kind: expected vae, clip, scorer, flow or reward, found " + kind);
}

void read_inputs(const Fields& request, PolicyInputs& in) {
  in.prompts = prompts_from_js(request, "prompts");
  if (request.has("rewardPrompts")) in.reward_prompts = prompts_from_js(request, "rewardPrompts");
  const auto negative = request.object("negative");
  in.negative = {negative.token_ids("clipL"), negative.token_ids("clipG"), negative.token_ids("t5")};
  in.prompt_of = request.integers("promptOf");
  for (const auto& fields : request.objects("rewards"))
    in.rewards.push_back({Handle<RewardModel>::get(fields.value("reward"), "rewards")->net(), fields.number("weight")});
}

RolloutRequest rollout_from_js(const Fields& fields) {
  RolloutRequest r;
  read_inputs(fields, r);
  r.iteration = fields.integer("iteration");
  r.samples = fields.integers("samples");
  r.latents = fields.integers("latents");
  r.k = fields.integer("k");
  r.continuation = fields.text("continue");
  r.from = fields.integer("from");
  r.until = fields.integer("until");
  r.score_states = fields.text("score") == "states";
  r.images = fields.flag("images");
  return r;
}

PolicySampleRequest policy_sample_from_js(const Fields& fields) {
  PolicySampleRequest r;
  read_inputs(fields, r);
  for (const auto seed : fields.integers("seeds")) r.seeds.push_back(static_cast<uint64_t>(seed));
  r.steps = fields.integer("steps");
  r.guidance = fields.number("guidance");
  return r;
}

std::vector<TrainBatch> batches_from_js(const Fields& fields, const char* name) {
  std::vector<TrainBatch> batches;
  for (const auto& batch : fields.objects(name)) batches.push_back(batch_from_js(batch));
  return batches;
}

Napi::Value metrics_to_js(Napi::Env env, Metrics&& metrics) {
  auto out = Napi::Object::New(env);
  for (const auto& m : metrics) out[m.name] = m.value;
  return out;
}

Napi::Array scores_to_js(Napi::Env env, const std::vector<std::vector<float>>& scores) {
  auto all = Napi::Array::New(env, scores.size());
  for (uint32_t i = 0; i < scores.size(); ++i) all[i] = to_js(env, scores[i]);
  return all;
}

/// Of held-out samples, which the caller averages over batches.
Napi::Value weighted_metrics_to_js(Napi::Env env, Metrics&& metrics) {
  auto out = Napi::Object::New(env);
  for (const auto& m : metrics) {
    auto entry = Napi::Object::New(env);
    entry["mean"] = m.value;
    entry["weight"] = m.weight;
    out[m.name] = entry;
  }
  return out;
}

/// A job on a trainer that gives nothing back; `work(trainer, control)` runs on the job's thread.
template <class Work>
Napi::Value on_trainer(const Napi::CallbackInfo& info, const char* name, size_t listener_at, Work work) {
  return Job<bool>::start(
      info.Env(), name, listener(info[listener_at]),
      [trainer = Handle<Training>::get(info[0], name), work = std::move(work)](Control& control) {
        work(*trainer, control);
        return true;
      },
      nothing);
}

}  // namespace

namespace {

/// Weights, gradients, two moments and averages, all fp32.
int64_t bytes_of(const Training& training) { return training.parameters() * 4 * 5; }

std::shared_ptr<ProcessGroup> group_from_js(const Napi::Value& value, const char* where) {
  return value.IsExternal() ? Handle<ProcessGroup>::get(value, where) : nullptr;
}

}  // namespace

DRM_EXPORT(createTrainer) {
  return Job<std::shared_ptr<Training>>::start(
      info.Env(), "drm.createTrainer", listener(info[2]),
      [group = group_from_js(info[3], "createTrainer"), objective = objective_from_js(Fields(info[0], "objective")),
       options = options_from_js(Fields(info[1], "trainer options"))](Control& control) {
        return Training::create(objective, options, group, control);
      },
      [](Napi::Env env, std::shared_ptr<Training>&& trainer) {
        const auto bytes = bytes_of(*trainer);
        return Handle<Training>::create(env, std::move(trainer), bytes);
      });
}

// { trainer, policy }: one object, with what all trainers do and with what policies do beside.
DRM_EXPORT(createPolicyTrainer) {
  return Job<std::shared_ptr<PolicyTraining>>::start(
      info.Env(), "drm.createPolicyTrainer", listener(info[2]),
      [group = group_from_js(info[3], "createPolicyTrainer"),
       policy = spec_from_js<PolicySpec>(Fields(info[0], "policy")),
       options = options_from_js(Fields(info[1], "trainer options"))](Control& control) {
        return PolicyTraining::create(policy, options, group, control);
      },
      [](Napi::Env env, std::shared_ptr<PolicyTraining>&& policy) -> Napi::Value {
        const auto bytes = bytes_of(*policy);
        auto out = Napi::Object::New(env);
        out["trainer"] = Handle<Training>::create(env, policy, bytes);
        out["policy"] = Handle<PolicyTraining>::create(env, std::move(policy), 0);
        return out;
      });
}

DRM_EXPORT(trainerParameters) {
  const auto n = Handle<Training>::get(info[0], "trainerParameters")->parameters();
  return Napi::Number::New(info.Env(), static_cast<double>(n));
}

DRM_EXPORT(trainerStep) {
  const Fields request(info[1], "step");
  return Job<Metrics>::start(
      info.Env(), "drm.trainerStep", listener(info[2]),
      [trainer = Handle<Training>::get(info[0], "trainerStep"), batches = batches_from_js(request, "batches"),
       index = request.integer("index"), rate = request.number("learningRate")](Control& control) {
        return trainer->step(batches, index, rate, control);
      },
      metrics_to_js);
}

DRM_EXPORT(trainerEvaluate) {
  return Job<Metrics>::start(
      info.Env(), "drm.trainerEvaluate", listener(info[2]),
      [trainer = Handle<Training>::get(info[0], "trainerEvaluate"),
       batch = batch_from_js(Fields(info[1], "batch"))](Control&) { return trainer->evaluate(batch); },
      weighted_metrics_to_js);
}

DRM_EXPORT(trainerCacheLatents) {
  return on_trainer(
      info, "drm.trainerCacheLatents", 2,
      [batch = batch_from_js(Fields(info[1], "batch"))](Training& trainer, Control&) { trainer.cache_latents(batch); });
}

DRM_EXPORT(trainerCachePrompts) {
  return on_trainer(info, "drm.trainerCachePrompts", 2,
                    [prompts = prompts_from_js(Fields(info[1], "prompts"), "prompts")](
                        Training& trainer, Control& control) { trainer.cache_prompts(prompts, control); });
}

DRM_EXPORT(trainerLoadLatents) {
  const Fields request(info[1], "latents");
  return on_trainer(info, "drm.trainerLoadLatents", 2,
                    [path = request.text("path"), images = request.integers("images")](Training& trainer, Control&) {
                      trainer.load_latents(path, images);
                    });
}

DRM_EXPORT(trainerLoadPrompts) {
  return on_trainer(info, "drm.trainerLoadPrompts", 2,
                    [paths = Fields(info[1], "prompts").texts("paths")](Training& trainer, Control&) {
                      trainer.load_prompts(paths);
                    });
}

DRM_EXPORT(trainerPreview) {
  const Fields fields(info[1], "preview");
  PreviewRequest r;
  r.texts = fields.integers("texts");
  for (const auto seed : fields.integers("seeds")) r.seeds.push_back(static_cast<uint64_t>(seed));
  r.steps = fields.integer("steps");
  r.guidance = fields.number("guidance");
  r.height = fields.integer("height");
  r.width = fields.integer("width");
  return on_trainer(info, "drm.trainerPreview", 2,
                    [r](Training& trainer, Control& control) { trainer.preview(r, control); });
}

DRM_EXPORT(policyRollout) {
  return Job<Rollout>::start(
      info.Env(), "drm.policyRollout", listener(info[2]),
      [policy = Handle<PolicyTraining>::get(info[0], "policyRollout"),
       r = rollout_from_js(Fields(info[1], "rollout"))](Control& control) { return policy->rollout(r, control); },
      [](Napi::Env env, Rollout&& rollout) -> Napi::Value {
        auto out = Napi::Object::New(env);
        out["firstRow"] = static_cast<double>(rollout.first_row);
        out["scores"] = scores_to_js(env, rollout.scores);
        out["encodeSeconds"] = rollout.encode_seconds;
        out["policySeconds"] = rollout.policy_seconds;
        out["rewardSeconds"] = rollout.reward_seconds;
        out["decodeSeconds"] = rollout.decode_seconds;
        return out;
      });
}

DRM_EXPORT(policyRatioError) {
  return Job<double>::start(
      info.Env(), "drm.policyRatioError", listener(info[2]),
      [policy = Handle<PolicyTraining>::get(info[0], "policyRatioError"),
       batches = batches_from_js(Fields(info[1], "ratio error"), "batches")](Control& control) {
        return policy->ratio_error(batches, control);
      },
      [](Napi::Env env, double&& error) -> Napi::Value { return Napi::Number::New(env, error); });
}

DRM_EXPORT(policySample) {
  return Job<PolicyScores>::start(
      info.Env(), "drm.policySample", listener(info[2]),
      [policy = Handle<PolicyTraining>::get(info[0], "policySample"),
       r = policy_sample_from_js(Fields(info[1], "policy sample"))](Control& control) {
        return policy->sample(r, control);
      },
      [](Napi::Env env, PolicyScores&& scores) -> Napi::Value { return scores_to_js(env, scores); });
}

DRM_EXPORT(trainerSave) {
  return on_trainer(info, "drm.trainerSave", 2,
                    [path = Fields(info[1], "save").text("path")](Training& t, Control& c) { t.save(path, c); });
}

DRM_EXPORT(trainerRestore) {
  return on_trainer(info, "drm.trainerRestore", 2,
                    [path = Fields(info[1], "restore").text("path")](Training& t, Control& c) { t.restore(path, c); });
}

DRM_EXPORT(trainerExport) {
  const Fields fields(info[1], "export");
  const auto layout = fields.has("layout") ? fields.text("layout") : "drm";
  if (layout != "drm" && layout != "authors")
    throw Failure(Code::Internal, "[binding] layout: expected drm or authors, found " + layout);
  return on_trainer(info, "drm.trainerExport", 2,
                    [path = fields.text("path"), dtype = fields.text("dtype"),
                     layout = layout == "authors" ? RewardLayout::Authors : RewardLayout::Kept](Training& t, Control&) {
                      t.export_weights(path, dtype, layout);
                    });
}

DRM_EXPORT(disposePolicy) {
  Handle<PolicyTraining>::dispose(info.Env(), info[0], "disposePolicy");
  return info.Env().Undefined();
}

DRM_EXPORT(disposeTrainer) {
  Handle<Training>::dispose(info.Env(), info[0], "disposeTrainer");
  return info.Env().Undefined();
}

}  // namespace drm::binding
