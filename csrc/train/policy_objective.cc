#include "train/policy_objective.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <set>

#include "common/stopwatch.h"
#include "nn/fused.h"
#include "runtime/device.h"
#include "reward/reward_scorer.h"
#include "random/draws.h"
#include "rl/rollout.h"
#include "lora/lora_file.h"
#include "models/registry.h"
#include "nn/initialize.h"
#include "train/frozen_inputs.h"
#include "vae/pictures.h"

namespace drm {
namespace {

/// Adapters count for nothing while one of these lives.
class AdaptersOff {
 public:
  explicit AdaptersOff(const std::vector<AdaptedLayer>& layers, bool off = true) : layers_(layers), off_(off) {
    if (off_) enable_lora(layers_, false);
  }
  ~AdaptersOff() {
    if (off_) enable_lora(layers_, true);
  }
  AdaptersOff(const AdaptersOff&) = delete;
  AdaptersOff& operator=(const AdaptersOff&) = delete;

 private:
  const std::vector<AdaptedLayer>& layers_;
  bool off_;
};

GoOn go_on_from(const std::string& name) {
  if (name == "random") return GoOn::Random;
  if (name == "best") return GoOn::Best;
  if (name == "first") return GoOn::First;
  if (name == "ode") return GoOn::Ode;
  throw Failure(Code::BadRequest,
                "[rollout] which candidate goes on: expected random, best, first or ode, found " + name);
}

PolicyDivergence divergence_from(const std::string& name) {
  if (name == "flow") return PolicyDivergence::Flow;
  if (name == "exact") return PolicyDivergence::Exact;
  if (name == "velocity") return PolicyDivergence::Velocity;
  throw Failure(Code::BadRequest, "[policy] kl: expected flow, exact or velocity, found " + name);
}

std::vector<float> to_floats(const Tensor& t) {
  const auto dense = t.to(at::kCPU, at::kFloat).contiguous();
  const auto* p = dense.const_data_ptr<float>();
  return {p, p + dense.numel()};
}

/// What an adapter file says of all its layers; `blocks`: what the names of blocks begin with. Throws Failure(BadFile) where they differ: one line is written back.
LoraConfig config_of(const LoraFile& file, const std::string& blocks) {
  LoraConfig c;
  c.targets.clear();
  std::set<std::string> targets;
  for (const auto& [name, entry] : file.layers) {
    if (targets.empty()) {
      c.rank = entry.a.size(0);
      c.alpha = entry.alpha;
    } else if (c.rank != entry.a.size(0) || c.alpha != entry.alpha) {
      throw Failure(Code::BadFile,
                    "[lora] " + file.path + ": expected one rank and alpha to go on from, found rank " +
                        std::to_string(c.rank) + " and rank " + std::to_string(entry.a.size(0)) + " (" + name +
                        "); merge it into the base and begin a new adapter",
                    {{"file", file.path}, {"key", name}});
    }
    const auto block = name.find('.', blocks.size());
    targets.insert(name.starts_with(blocks) && block != std::string::npos ? name.substr(block + 1) : name);
  }
  c.targets.assign(targets.begin(), targets.end());
  return c;
}

class AdaptedPolicy final : public PolicyObjective {
 public:
  AdaptedPolicy(const PolicySpec& spec, uint64_t seed, at::ScalarType dtype, at::Device device, Control& control)
      : spec_(spec),
        seed_(seed),
        dtype_(dtype),
        device_(device),
        lora_(spec.lora),
        divergence_(divergence_from(spec.kl)),
        scheduler_(spec.source.scheduler_config.empty() ? SchedulerConfig{}
                                                        : read_scheduler_config(spec.source.scheduler_config)),
        schedule_(sampling_schedule(scheduler_, spec.steps)),
        model_(velocity_config_of(spec.source.transformer).plan(0)),
        frozen_(spec.source, spec.t5_length, model_, dtype, device, control) {
    load_velocity_model(*model_, Weights::open(spec.source.transformer.weights, velocity_keys), dtype, device,
                        [&](uint64_t, uint64_t) { control.check(); });
    frozen_.require_fit(spec.source.transformer.config, "policy");
    height_ = side(spec.height, "height");
    width_ = side(spec.width, "width");
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
    for (const auto& [name, layer] : adapted_) trains_text_ |= !name.starts_with(model_->info().blocks);
  }

  NamedTensors parameters() override { return parameters_; }
  bool autocasts() const override { return false; }

  Loss loss(const TrainBatch& batch, const StepKey&) override {
    const auto at = gather(batch);
    const auto l = step_loss(at, batch);
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
    return (step_loss(gather(batch), batch).ratio - 1).abs().max().item<double>();
  }

  void export_weights(const std::string& path, at::ScalarType) override { save_lora(path, adapted_, lora_); }

  Rollout rollout(const RolloutRequest& r, Control& control) override {
    const at::NoGradGuard no_grad;
    const auto n = static_cast<int64_t>(r.prompt_of.size());
    if (n == 0 || static_cast<int64_t>(r.samples.size()) != n || static_cast<int64_t>(r.latents.size()) != n)
      throw Failure(Code::Internal, "[rollout] expected a prompt, a sample number and an initial latent for each of " +
                                        std::to_string(n) + " trajectories");
    if (!collected_.empty() && r.iteration != iteration_) collected_.clear();
    iteration_ = r.iteration;

    Rollout out;
    RolloutTimes times;
    Collected c;
    Scorers scorers;
    {
      const Stopwatch clock(&out.encode_seconds);
      control.report({"encode", 0, 1, 0});
      c.text = encode(r.prompts, r.negative, control);
      c.prompt_of = r.prompt_of;
      scorers = scorers_of(r, c.text, control);
      control.report({"encode", 1, 1, clock.seconds()});
    }
    const RolloutOptions options{r.k,
                                 spec_.cps ? StepNoise::Cps : StepNoise::Sde,
                                 spec_.noise_level,
                                 r.from,
                                 r.until,
                                 go_on_from(r.go_on),
                                 scorers.rows_per_pass,
                                 r.score_states};
    const auto latents =
        draw_normal({seed_, Purpose::Initial}, r.latents, {model_->info().in_channels, height_, width_}, device_);
    const auto text = text_for_guidance(rows(c.text, r.prompt_of), spec_.guidance);
    const Stopwatch clock;
    c.walked = roll_out(
        [&](const Tensor& x, int64_t i) { return velocity_at(x, schedule_.timesteps[static_cast<size_t>(i)], text); },
        latents, schedule_, options, noise_of_keys(seed_, r.samples, device_), scorers.all, control,
        [&](int64_t i) {
          control.report({"rollout", i + 1, spec_.steps, clock.seconds()});
        },
        &times);
    out.policy_seconds = times.policy;
    out.reward_seconds = times.reward;
    for (size_t i = 0; i < scorers.all.size(); ++i) {
      std::vector<Tensor> of_steps;
      if (r.k > 1)
        for (const auto& s : c.walked.steps) of_steps.push_back(s.scores[i]);
      out.scores.push_back(to_floats(r.k > 1 ? at::stack(of_steps) : c.walked.scores[i]));
    }
    if (r.pictures) {
      const Stopwatch decoding(&out.decode_seconds);
      emit_pictures(c.walked.final, control);
    }
    for (const auto& other : collected_) out.first_row += static_cast<int64_t>(other.prompt_of.size());
    collected_.push_back(std::move(c));
    return out;
  }

  PolicyScores sample(const PolicySampleRequest& r, Control& control) override {
    const at::NoGradGuard no_grad;
    if (r.prompt_of.empty() || r.prompt_of.size() != r.seeds.size())
      throw Failure(Code::Internal, "[policy] " + std::to_string(r.prompt_of.size()) + " prompts for " +
                                        std::to_string(r.seeds.size()) + " seeds");
    control.report({"encode", 0, 1, 0});
    const auto text = encode(r.prompts, r.negative, control);
    const auto scorers = scorers_of(r, text, control);
    control.report({"encode", 1, 1, 0});
    std::vector<Tensor> first;
    for (const auto seed : r.seeds)
      first.push_back(initial_latents(seed, model_->info().in_channels, height_, width_, dtype_));
    const auto schedule = sampling_schedule(scheduler_, r.steps);
    const Guidance guidance{r.guidance};
    const Stopwatch clock;
    const auto latents = denoise(*model_, at::cat(first, 0).to(device_), rows(text, r.prompt_of), schedule,
                                 guidance, control, [&](const StepView& v) {
                                   control.report({"denoise", v.index + 1, r.steps, clock.seconds()});
                                 });
    emit_pictures(latents, control);
    PolicyScores scores;
    for (const auto& s : scorers.all)
      scores.push_back(to_floats(score_candidates(s.score, latents.unsqueeze(1), 0, scorers.rows_per_pass)));
    return scores;
  }

 private:
  /// Embeds of the prompts (P) and of the negative prompt; embedded where no adapter can change that.
  struct Text {
    PromptEmbeds prompts, negative;
    std::optional<Conditioning> embedded;
  };
  /// One rollout's trajectories.
  struct Collected {
    Text text;
    std::vector<int64_t> prompt_of;
    Trajectories walked;
  };
  /// Rows of what was collected, at one denoising step.
  struct Gathered {
    SdeStep step;
    float timestep = 0;
    Tensor state, candidates, old_log_prob;
    TextEmbedding text;
  };
  struct Scorers {
    std::vector<WeightedScorer> all;
    int64_t rows_per_pass = 0;
  };

  int64_t side(int64_t asked, const char* name) const {
    const auto factor = frozen_.vae_config().factor(), unit = factor * model_->info().patch_size;
    const auto size = asked ? asked : model_->info().default_size * factor;
    if (size < unit || size % unit || size > unit * model_->info().most_patches)
      throw Failure(Code::BadRequest, std::string("[policy] ") + name + ": expected a multiple of " +
                                          std::to_string(unit) + " up to " +
                                          std::to_string(unit * model_->info().most_patches) + ", found " +
                                          std::to_string(size));
    return size / factor;
  }

  PromptEmbeds encode(const std::vector<PromptTokens>& prompts, int64_t t5_length, const Control& control) const {
    return encode_prompts(*model_, frozen_.encoders(), prompts, t5_length, device_, control);
  }
  Text encode(const std::vector<PromptTokens>& prompts, const PromptTokens& negative, const Control& control) const {
    Text t{encode(prompts, spec_.t5_length, control), encode({negative}, spec_.t5_length, control), {}};
    if (!trains_text_) t.embedded = embed(t);
    return t;
  }
  Conditioning embed(const Text& t) const {
    if (t.embedded) return *t.embedded;
    const auto embedded = [&](const PromptEmbeds& e) { return model_->embed_text(embeds_in(e, dtype_)); };
    return {embedded(t.prompts), embedded(t.negative)};
  }
  /// A row for each of these prompts.
  Conditioning rows(const Text& t, const std::vector<int64_t>& prompt_of) const {
    const auto embedded = embed(t);
    return {select_rows(embedded.conditional, prompt_of),
            expand_rows(embedded.unconditional, static_cast<int64_t>(prompt_of.size()))};
  }

  Scorers scorers_of(const PolicyInputs& in, const Text& policys, const Control& control) const {
    Scorers s;
    for (const auto& [shared, weight] : in.rewards) {
      const auto& net = *shared;
      require_same_base(net, model_->info());
      if (const auto device = net.head.score.weight.device(); device != device_)
        throw Failure(Code::BadRequest, "[policy] reward model: expected it on " + device_.str() +
                                            " as the policy, found " + device.str());
      const auto length = net.config.t5_length;
      const bool same_length = length == spec_.t5_length, without_t5 = !frozen_.encoders().t5.has_value();
      if (!same_length && !without_t5 && in.reward_prompts.size() != in.prompts.size())
        throw Failure(Code::BadRequest, "[policy] reward model: expected prompts of " + std::to_string(length) +
                                            " T5 tokens, found those of the policy; reward models in one sum must "
                                            "read equally many");
      const auto embeds =
          same_length ? policys.prompts : encode(without_t5 ? in.prompts : in.reward_prompts, length, control);
      auto text = select_rows(embed_for_reward(net, embeds), in.prompt_of);
      const auto most = drm::rows_per_pass(net, text, height_, width_);
      s.rows_per_pass = s.rows_per_pass == 0 ? most : std::min(s.rows_per_pass, most);
      s.all.push_back({reward_scorer(net, std::move(text)), weight});
    }
    return s;
  }

  void emit_pictures(const Tensor& latents, const Control& control) const {
    const Stopwatch clock;
    for (int64_t i = 0; i < latents.size(0); ++i) {  // one at a time: a batch would multiply the peak memory
      control.check();
      auto e = picture_event("image", decode_to_bytes(frozen_.vae(), latents.narrow(0, i, 1), 0, control)[0]);
      e.fields.emplace_back("index", static_cast<double>(i));
      control.emit(std::move(e));
      control.report({"decode", i + 1, latents.size(0), clock.seconds()});
    }
  }

  Gathered gather(const TrainBatch& batch) const {
    const auto refuse = [](const std::string& what) { throw Failure(Code::Internal, "[policy] " + what); };
    struct Part {
      const Collected* from;
      std::vector<int64_t> rows;
    };
    std::vector<Part> parts;
    for (auto row : batch.samples) {
      const Collected* from = nullptr;
      for (const auto& c : collected_) {
        const auto n = static_cast<int64_t>(c.prompt_of.size());
        if (row >= 0 && row < n) {
          from = &c;
          break;
        }
        row -= n;
      }
      if (!from) refuse("an update names a trajectory that was not collected in this iteration");
      if (parts.empty() || parts.back().from != from) parts.push_back({from, {}});
      parts.back().rows.push_back(row);
    }
    if (parts.empty()) refuse("an update without trajectories");
    Gathered g;
    std::vector<Tensor> states, candidates, old;
    std::vector<TextEmbedding> conditional, unconditional;
    for (const auto& [from, rows_here] : parts) {
      const auto& steps = from->walked.steps;
      const auto s = std::find_if(steps.begin(), steps.end(), [&](const auto& s) { return s.index == batch.step; });
      if (s == steps.end()) refuse("denoising step " + std::to_string(batch.step) + " was sampled without noise");
      const auto index = at::tensor(rows_here, at::kLong).to(device_);
      states.push_back(s->state.index_select(0, index));
      candidates.push_back(s->candidates.index_select(0, index));
      old.push_back(s->old_log_prob.index_select(0, index));
      std::vector<int64_t> prompts;
      for (const auto row : rows_here) prompts.push_back(from->prompt_of[static_cast<size_t>(row)]);
      const auto text = rows(from->text, prompts);
      conditional.push_back(text.conditional);
      unconditional.push_back(text.unconditional);
      g.step = s->step;
    }
    g.timestep = schedule_.timesteps[static_cast<size_t>(batch.step)];
    g.state = at::cat(states);
    g.candidates = at::cat(candidates);
    g.old_log_prob = at::cat(old);
    g.text = text_for_guidance({join_rows(conditional), join_rows(unconditional)}, spec_.guidance);
    return g;
  }

  /// The policy's velocities (N, C, H, W): the same bits whether or not their gradients are wanted.
  Guided velocity_at(const Tensor& x, float timestep, const TextEmbedding& text) const {
    const fused::AsInTraining same_bits;
    VelocityOptions options;
    options.recompute = spec_.recompute;
    auto v = guided_velocity(*model_, x, timestep, text, spec_.guidance, options);
    if (spec_.detach_unconditional && v.unconditional.defined()) v.unconditional = v.unconditional.detach();
    return v;
  }

  PolicyLoss step_loss(const Gathered& g, const TrainBatch& batch) const {
    const auto n = g.candidates.size(0), k = g.candidates.size(1);
    if (static_cast<int64_t>(batch.advantages.size()) != n * k)
      throw Failure(Code::Internal, "[policy] " + std::to_string(batch.advantages.size()) + " advantages for " +
                                        std::to_string(n * k) + " candidates");
    const auto noise = spec_.cps ? StepNoise::Cps : StepNoise::Sde;
    const auto v = guided(velocity_at(g.state, g.timestep, g.text));
    const auto mean = step_mean(g.state, v, {g.step});
    Tensor divergence;
    if (spec_.kl_beta > 0) {
      Tensor reference;
      {
        const at::NoGradGuard no_grad;
        const AdaptersOff off(adapted_);
        reference = guided(velocity_at(g.state, g.timestep, g.text));
      }
      divergence = policy_divergence(divergence_, mean, step_mean(g.state, reference, {g.step}), v, reference, g.step);
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
  int64_t height_ = 0, width_ = 0;  // of latents
  std::vector<AdaptedLayer> adapted_;
  NamedTensors parameters_;
  bool trains_text_ = false;
  std::vector<Collected> collected_;
  int64_t iteration_ = -1;
};

}  // namespace

std::unique_ptr<PolicyObjective> PolicyObjective::create(const PolicySpec& spec, uint64_t seed, at::ScalarType dtype,
                                                         at::Device device, Control& control) {
  return std::make_unique<AdaptedPolicy>(spec, seed, dtype, device, control);
}

}  // namespace drm
