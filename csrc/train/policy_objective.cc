#include "train/policy_objective.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "common/settings.h"
#include "common/stopwatch.h"
#include "lora/lora_file.h"
#include "models/latent_size.h"
#include "models/registry.h"
#include "nn/fused.h"
#include "nn/initialize.h"
#include "random/draws.h"
#include "rl/rollout.h"
#include "runtime/device.h"
#include "train/frozen_inputs.h"
#include "train/policy_prompts.h"
#include "train/policy_rewards.h"
#include "train/trajectory_store.h"
#include "vae/images.h"

namespace drm {
namespace {

Continuation continuation_from(const std::string& name) {
  if (name == "random") return Continuation::Random;
  if (name == "best") return Continuation::Best;
  if (name == "first") return Continuation::First;
  if (name == "ode") return Continuation::Ode;
  throw Failure(Code::BadRequest,
                "[rollout] which candidate goes on: expected random, best, first or ode, found " + name);
}

PolicyDivergence divergence_from(const std::string& name) {
  return name == "flow"    ? PolicyDivergence::Flow
         : name == "exact" ? PolicyDivergence::Exact
                           : PolicyDivergence::Velocity;
}

std::vector<float> to_floats(const Tensor& t) {
  const auto dense = t.to(at::kCPU, at::kFloat).contiguous();
  const auto* p = dense.const_data_ptr<float>();
  return {p, p + dense.numel()};
}

class AdaptedPolicy final : public PolicyObjective {
 public:
  AdaptedPolicy(const PolicySpec& spec, uint64_t seed, at::ScalarType dtype, at::Device device, Control& control)
      : spec_((check_settings(spec, "policy"), spec)),
        seed_(seed),
        dtype_(dtype),
        device_(device),
        lora_(spec.lora),
        divergence_(divergence_from(spec.kl)),
        scheduler_(read_scheduler_config(spec.source.scheduler_config)),
        schedule_(sampling_schedule(scheduler_, spec.denoising_steps)),
        model_(velocity_config_of(spec.source.transformer).plan(0)),
        frozen_(spec.source, spec.t5_length, model_, dtype, device, control) {
    load_velocity_model(*model_, Weights::open(spec.source.transformer.weights, velocity_keys), dtype, device,
                        [&](uint64_t, uint64_t) { control.check(); });
    frozen_.require_fit(spec.source.transformer.config, "policy");
    side_ = latent_side(model_->info(), frozen_.vae_config().factor(), spec.size, "[policy] size");
    if (spec.lora_from.empty()) {
      adapted_ = find_targets(*model_, spec.lora.targets);
      add_lora(adapted_, spec.lora, seeded_generator(seed));
    } else {
      const auto file = read_lora(spec.lora_from);
      lora_ = config_of(file, model_->info().blocks);
      adapted_ = apply_lora(*model_, file);
    }
    parameters_ = lora_tensors(adapted_);
    for (auto& [name, p] : parameters_) p.requires_grad_(true);
    const auto& blocks = model_->info().blocks;
    const bool embedders_train = std::any_of(adapted_.begin(), adapted_.end(),
                                             [&](const auto& layer) { return !layer.name.starts_with(blocks); });
    prompts_.emplace(*model_, frozen_.encoders(),
                     PolicyPrompts::Settings{spec.t5_length, dtype, device, embedders_train});
  }

  NamedTensors parameters() override { return parameters_; }
  bool autocasts() const override { return false; }

  Loss loss(const TrainBatch& batch, const StepKey&) override {
    const auto l = step_loss(batch);
    const auto n = std::to_string(batch.step);
    const auto variance = (l.ratio - 1).square().mean(), ratio = l.ratio.mean();
    std::vector<Metric> metrics{{"policy_loss", l.policy}};
    if (l.kl.defined()) metrics.push_back({"kl", l.kl});
    for (const auto& [name, value] :
         std::initializer_list<std::pair<const char*, Tensor>>{{"approx_kl", l.approx_kl},
                                                               {"clip_fraction", l.clip_high + l.clip_low},
                                                               {"clip_fraction_high", l.clip_high},
                                                               {"clip_fraction_low", l.clip_low},
                                                               {"ratio", ratio},
                                                               {"ratio_variance", variance}})
      metrics.push_back({name, value});
    metrics.push_back({"ratio/" + n, ratio});
    metrics.push_back({"ratio_variance/" + n, variance});
    return {l.total, std::move(metrics)};
  }

  double ratio_error(const TrainBatch& batch) override {
    return (step_loss(batch).ratio - 1).abs().max().item<double>();
  }

  void export_weights(const std::string& path, at::ScalarType) override { save_lora(path, adapted_, lora_); }

  Rollout rollout(const RolloutRequest& r, Control& control) override {
    const at::NoGradGuard no_grad;
    const auto n = static_cast<int64_t>(r.prompt_of.size());
    if (n == 0 || static_cast<int64_t>(r.samples.size()) != n || static_cast<int64_t>(r.latents.size()) != n)
      throw Failure(Code::Internal, "[rollout] expected a prompt, a sample number and an initial latent for each of " +
                                        std::to_string(n) + " trajectories");
    collected_.begin(r.iteration);

    Rollout out;
    RolloutTimes times;
    TrajectoryStore::Collected c;
    PolicyRewards rewards;
    {
      const Stopwatch clock(&out.encode_seconds);
      control.report({"encode", 0, 1, 0});
      c.text = prompts_->encode(r.prompts, r.negative, control);
      c.prompt_of = r.prompt_of;
      rewards = rewards_of(r, c.text, control);
      control.report({"encode", 1, 1, clock.seconds()});
    }
    const RolloutOptions options{r.k,
                                 spec_.sde == "cps" ? StepNoise::Cps : StepNoise::Sde,
                                 spec_.noise_level,
                                 r.from,
                                 r.until,
                                 continuation_from(r.continuation),
                                 rewards.rows_per_pass,
                                 r.score_states};
    const auto latents =
        draw_normal({seed_, Purpose::Initial}, r.latents, {model_->info().in_channels, side_, side_}, device_);
    const auto text = text_for_guidance(prompts_->rows(c.text, r.prompt_of), spec_.guidance);
    const Stopwatch clock;
    c.walked = roll_out(
        [&](const Tensor& x, int64_t i) { return velocity_at(x, schedule_.timesteps[static_cast<size_t>(i)], text); },
        latents, schedule_, options, noise_of_keys(seed_, r.samples, device_), rewards.scorers, control,
        [&](int64_t i) {
          control.report({"rollout", i + 1, spec_.denoising_steps, clock.seconds()});
        },
        &times);
    out.policy_seconds = times.policy;
    out.reward_seconds = times.reward;
    for (size_t i = 0; i < rewards.scorers.size(); ++i) {
      std::vector<Tensor> of_steps;
      if (r.k > 1)
        for (const auto& s : c.walked.steps) of_steps.push_back(s.scores[i]);
      out.scores.push_back(to_floats(r.k > 1 ? at::stack(of_steps) : c.walked.scores[i]));
    }
    if (r.images) {
      const Stopwatch decoding(&out.decode_seconds);
      emit_images(frozen_.vae(), c.walked.final, {}, control);
    }
    out.first_row = collected_.add(std::move(c));
    return out;
  }

  PolicyScores sample(const PolicySampleRequest& r, Control& control) override {
    const at::NoGradGuard no_grad;
    if (r.prompt_of.empty() || r.prompt_of.size() != r.seeds.size())
      throw Failure(Code::Internal, "[policy] " + std::to_string(r.prompt_of.size()) + " prompts for " +
                                        std::to_string(r.seeds.size()) + " seeds");
    control.report({"encode", 0, 1, 0});
    const auto text = prompts_->encode(r.prompts, r.negative, control);
    const auto rewards = rewards_of(r, text, control);
    control.report({"encode", 1, 1, 0});
    std::vector<Tensor> first;
    for (const auto seed : r.seeds)
      first.push_back(initial_latents(seed, model_->info().in_channels, side_, side_, dtype_));
    const auto schedule = sampling_schedule(scheduler_, r.steps);
    const Guidance guidance{r.guidance};
    const Stopwatch clock;
    const auto latents = denoise(*model_, at::cat(first, 0).to(device_), prompts_->rows(text, r.prompt_of), schedule,
                                 guidance, control, [&](const StepView& v) {
                                   control.report({"denoise", v.index + 1, r.steps, clock.seconds()});
                                 });
    emit_images(frozen_.vae(), latents, {}, control);
    PolicyScores scores;
    for (const auto& s : rewards.scorers)
      scores.push_back(to_floats(score_candidates(s.score, latents.unsqueeze(1), 0, rewards.rows_per_pass)));
    return scores;
  }

 private:
  PolicyRewards rewards_of(const PolicyInputs& inputs, const PolicyPrompts::Text& text, const Control& control) const {
    const RewardedPolicy policy{model_->info(), device_, spec_.t5_length, frozen_.encoders().t5.has_value(),
                                side_,          side_};
    return prepare_rewards(inputs, policy, *prompts_, text.prompts, control);
  }

  /// The policy's velocities (N, C, H, W): the same bits whether or not their gradients are wanted.
  GuidedVelocity velocity_at(const Tensor& x, float timestep, const TextEmbedding& text) const {
    const fused::AsInTraining same_bits;
    VelocityOptions options;
    options.recompute = spec_.gradient_checkpointing;
    auto v = guided_velocity(*model_, x, timestep, text, spec_.guidance, options);
    if (spec_.detach_unconditional && v.unconditional.defined()) v.unconditional = v.unconditional.detach();
    return v;
  }

  PolicyLoss step_loss(const TrainBatch& batch) const {
    const auto g = collected_.rows(batch, *prompts_);
    const auto n = g.candidates.size(0), k = g.candidates.size(1);
    if (static_cast<int64_t>(batch.advantages.size()) != n * k)
      throw Failure(Code::Internal, "[policy] " + std::to_string(batch.advantages.size()) + " advantages for " +
                                        std::to_string(n * k) + " candidates");
    const auto noise = spec_.sde == "cps" ? StepNoise::Cps : StepNoise::Sde;
    const auto timestep = schedule_.timesteps[static_cast<size_t>(batch.step)];
    const auto text = text_for_guidance(g.text, spec_.guidance);
    const auto v = guided(velocity_at(g.state, timestep, text));
    const auto mean = step_mean(g.state, v, g.step);
    Tensor divergence;
    if (spec_.kl_beta > 0) {
      Tensor reference;
      {
        const at::NoGradGuard no_grad;
        const AdaptersOff off(adapted_);
        reference = guided(velocity_at(g.state, timestep, text));
      }
      divergence = policy_divergence(divergence_, mean, step_mean(g.state, reference, g.step), v, reference, g.step);
    }
    return policy_loss(candidate_log_prob(noise, g.candidates, mean, g.step), g.old_log_prob,
                       at::tensor(batch.advantages, at::kFloat).view({n, k}).to(device_), divergence,
                       {spec_.clip_range, spec_.advantage_clip, spec_.kl_beta});
  }

  PolicySpec spec_;
  uint64_t seed_;
  at::ScalarType dtype_;
  at::Device device_;
  LoraConfig lora_;
  PolicyDivergence divergence_;
  SchedulerConfig scheduler_;
  Schedule schedule_;
  std::shared_ptr<VelocityModel> model_;
  FrozenInputs frozen_;
  int64_t side_ = 0;  // latent pixels
  std::vector<AdaptedLayer> adapted_;
  NamedTensors parameters_;
  std::optional<PolicyPrompts> prompts_;
  TrajectoryStore collected_;
};

}  // namespace

std::unique_ptr<PolicyObjective> PolicyObjective::create(const PolicySpec& spec, uint64_t seed, at::ScalarType dtype,
                                                         at::Device device, Control& control) {
  return std::make_unique<AdaptedPolicy>(spec, seed, dtype, device, control);
}

}  // namespace drm
