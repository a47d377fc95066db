// Trainer: create, step, evaluate, caches, previews, save, restore, export, dispose.
#include "arguments.h"
#include "exports.h"
#include "group_handle.h"
#include "handle.h"
#include "job.h"
#include "requests.h"
#include "reward_handle.h"
#include "api/training.h"

namespace drm::binding {

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
  o.beta1 = fields.number("beta1");
  o.beta2 = fields.number("beta2");
  o.eps = fields.number("eps");
  o.weight_decay = fields.number("weightDecay");
  o.max_gradient_norm = fields.number("maxGradientNorm");
  o.ema_decay = fields.number("emaDecay");
  if (fields.has("emaEvery")) o.ema_every = fields.integer("emaEvery");
  o.zero = fields.has("zero") && fields.flag("zero");
  return o;
}

VaeSpec vae_from_js(const Fields& fields) {
  const auto loss = fields.object("loss");
  return {fields.text("config"), fields.texts("weights"), loss.number("l1"),
          loss.number("l2"),     loss.number("edges"),    loss.number("kl")};
}

ClipSpec clip_from_js(const Fields& fields) {
  return {fields.text("config"), fields.texts("weights"), fields.number("augment"), fields.number("rotate"),
          fields.number("patch_dropout")};
}

std::optional<LoraConfig> lora_from_js(const Fields& fields) {
  if (!fields.has("lora")) return {};
  const auto lora = fields.object("lora");
  return LoraConfig{lora.integer("rank"), lora.number("alpha"), lora.texts("targets")};
}

PolicySpec policy_from_js(const Fields& fields) {
  PolicySpec s;
  s.source = pipeline_source_from_js(fields.object("source"));
  s.lora = lora_from_js(fields).value_or(LoraConfig{});
  if (fields.has("loraFrom")) s.lora_from = fields.text("loraFrom");
  s.t5_length = fields.integer("t5Length");
  s.height = fields.integer("height");
  s.width = fields.integer("width");
  s.steps = fields.integer("steps");
  s.guidance = fields.number("guidance");
  s.noise_level = fields.number("noiseLevel");
  s.cps = fields.text("sde") == "cps";
  s.clip_range = fields.number("clipRange");
  s.advantage_clip = fields.number("advantageClip");
  s.kl_beta = fields.number("klBeta");
  s.kl = fields.text("kl");
  s.detach_unconditional = fields.flag("detachUnconditional");
  s.recompute = fields.flag("recompute");
  return s;
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
  r.continuation = fields.text("goOn");
  r.from = fields.integer("from");
  r.until = fields.integer("until");
  r.score_states = fields.text("score") == "states";
  r.pictures = fields.flag("pictures");
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

FlowSpec flow_from_js(const Fields& fields) {
  FlowSpec s;
  s.source = pipeline_source_from_js(fields.object("source"));
  s.logit_normal = fields.flag("logitNormal");
  s.mean = fields.number("logitMean");
  s.deviation = fields.number("logitDeviation");
  s.shifted = fields.flag("shifted");
  s.prompt_dropout = fields.number("promptDropout");
  s.posterior_sample = fields.flag("posteriorSample");
  s.recompute = fields.flag("recompute");
  s.t5_length = fields.integer("t5Length");
  s.lora = lora_from_js(fields);
  return s;
}

RewardSpec reward_from_js(const Fields& fields) {
  RewardSpec s;
  s.source = pipeline_source_from_js(fields.object("source"));
  s.checkpoint = component_from_js(fields, "checkpoint");
  s.keep_layers = fields.integer("keepLayers");
  const auto head = fields.object("head");
  s.head_channels = head.integer("channels");
  s.head_groups = head.integer("groups");
  s.head_hidden = head.integer("hidden");
  s.dropout = head.number("dropout");
  s.logit_normal = fields.flag("logitNormal");
  s.mean = fields.number("logitMean");
  s.deviation = fields.number("logitDeviation");
  s.shifted = fields.flag("shifted");
  s.shared_noise = fields.flag("sharedNoise");
  s.posterior_sample = fields.flag("posteriorSample");
  s.recompute = fields.flag("recompute");
  s.t5_length = fields.integer("t5Length");
  s.freeze_backbone = fields.flag("freezeBackbone");
  s.lora = lora_from_js(fields);
  return s;
}

ObjectiveSpec objective_from_js(const Fields& fields) {
  const auto kind = fields.text("kind");
  if (kind == "vae") return vae_from_js(fields);
  if (kind == "clip") return clip_from_js(fields);
  if (kind == "flow") return flow_from_js(fields);
  if (kind == "reward") return reward_from_js(fields);
  if (kind == "policy") return policy_from_js(fields);
  throw Failure(Code::Internal, "[binding] objective.kind: expected vae, clip, flow, reward or policy, found " + kind);
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
  for (size_t i = 0; i < scores.size(); ++i) {
    auto out = Napi::Float32Array::New(env, scores[i].size());
    std::copy(scores[i].begin(), scores[i].end(), out.Data());
    all[static_cast<uint32_t>(i)] = out;
  }
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
      [trainer = Handle<Training>::get(info[0], name), work](Control& control) {
        work(*trainer, control);
        return true;
      },
      nothing);
}

}  // namespace

Napi::Value create_trainer(const Napi::CallbackInfo& info) {
  std::shared_ptr<ProcessGroup> group;
  if (info[3].IsExternal()) group = Handle<ProcessGroup>::get(info[3], "createTrainer");
  return Job<std::shared_ptr<Training>>::start(
      info.Env(), "drm.createTrainer", listener(info[2]),
      [group, objective = objective_from_js(Fields(info[0], "objective")),
       options = options_from_js(Fields(info[1], "trainer options"))](Control& control) {
        return Training::create(objective, options, group, control);
      },
      [](Napi::Env env, std::shared_ptr<Training>&& trainer) {
        // Weights, gradients, two moments and averages, all fp32.
        const auto bytes = trainer->parameters() * 4 * 5;
        return Handle<Training>::create(env, std::move(trainer), bytes);
      });
}

Napi::Value trainer_parameters(const Napi::CallbackInfo& info) {
  const auto n = Handle<Training>::get(info[0], "trainerParameters")->parameters();
  return Napi::Number::New(info.Env(), static_cast<double>(n));
}

Napi::Value trainer_step(const Napi::CallbackInfo& info) {
  const Fields request(info[1], "step");
  return Job<Metrics>::start(
      info.Env(), "drm.trainerStep", listener(info[2]),
      [trainer = Handle<Training>::get(info[0], "trainerStep"), batches = batches_from_js(request, "batches"),
       index = request.integer("index"), rate = request.number("learningRate")](Control& control) {
        return trainer->step(batches, index, rate, control);
      },
      metrics_to_js);
}

Napi::Value trainer_evaluate(const Napi::CallbackInfo& info) {
  return Job<Metrics>::start(
      info.Env(), "drm.trainerEvaluate", listener(info[2]),
      [trainer = Handle<Training>::get(info[0], "trainerEvaluate"),
       batch = batch_from_js(Fields(info[1], "batch"))](Control&) { return trainer->evaluate(batch); },
      weighted_metrics_to_js);
}

Napi::Value trainer_cache_latents(const Napi::CallbackInfo& info) {
  return on_trainer(
      info, "drm.trainerCacheLatents", 2,
      [batch = batch_from_js(Fields(info[1], "batch"))](Training& trainer, Control&) { trainer.cache_latents(batch); });
}

Napi::Value trainer_cache_prompts(const Napi::CallbackInfo& info) {
  return on_trainer(info, "drm.trainerCachePrompts", 2,
                    [prompts = prompts_from_js(Fields(info[1], "prompts"), "prompts")](
                        Training& trainer, Control& control) { trainer.cache_prompts(prompts, control); });
}

Napi::Value trainer_load_latents(const Napi::CallbackInfo& info) {
  const Fields request(info[1], "latents");
  return on_trainer(info, "drm.trainerLoadLatents", 2,
                    [path = request.text("path"), pictures = request.integers("pictures")](
                        Training& trainer, Control&) { trainer.load_latents(path, pictures); });
}

Napi::Value trainer_load_prompts(const Napi::CallbackInfo& info) {
  return on_trainer(info, "drm.trainerLoadPrompts", 2,
                    [paths = Fields(info[1], "prompts").texts("paths")](Training& trainer, Control&) {
                      trainer.load_prompts(paths);
                    });
}

Napi::Value trainer_preview(const Napi::CallbackInfo& info) {
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

Napi::Value trainer_rollout(const Napi::CallbackInfo& info) {
  return Job<Rollout>::start(
      info.Env(), "drm.trainerRollout", listener(info[2]),
      [trainer = Handle<Training>::get(info[0], "trainerRollout"),
       r = rollout_from_js(Fields(info[1], "rollout"))](Control& control) { return trainer->rollout(r, control); },
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

Napi::Value trainer_ratio_error(const Napi::CallbackInfo& info) {
  return Job<double>::start(
      info.Env(), "drm.trainerRatioError", listener(info[2]),
      [trainer = Handle<Training>::get(info[0], "trainerRatioError"),
       batches = batches_from_js(Fields(info[1], "ratio error"), "batches")](Control& control) {
        return trainer->ratio_error(batches, control);
      },
      [](Napi::Env env, double&& error) -> Napi::Value { return Napi::Number::New(env, error); });
}

Napi::Value trainer_sample(const Napi::CallbackInfo& info) {
  return Job<PolicyScores>::start(
      info.Env(), "drm.trainerSample", listener(info[2]),
      [trainer = Handle<Training>::get(info[0], "trainerSample"),
       r = policy_sample_from_js(Fields(info[1], "policy sample"))](Control& control) {
        return trainer->sample(r, control);
      },
      [](Napi::Env env, PolicyScores&& scores) -> Napi::Value { return scores_to_js(env, scores); });
}

Napi::Value trainer_save(const Napi::CallbackInfo& info) {
  return on_trainer(info, "drm.trainerSave", 2,
                    [path = Fields(info[1], "save").text("path")](Training& t, Control& c) { t.save(path, c); });
}

Napi::Value trainer_restore(const Napi::CallbackInfo& info) {
  return on_trainer(info, "drm.trainerRestore", 2,
                    [path = Fields(info[1], "restore").text("path")](Training& t, Control& c) { t.restore(path, c); });
}

Napi::Value trainer_export(const Napi::CallbackInfo& info) {
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

Napi::Value dispose_trainer(const Napi::CallbackInfo& info) {
  Handle<Training>::dispose(info.Env(), info[0], "disposeTrainer");
  return info.Env().Undefined();
}

}  // namespace drm::binding
