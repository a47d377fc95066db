// Cases of policy training: how each stored tensor is recomputed.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "case.h"
#include "configs.h"
#include "flow/scheduler.h"
#include "lora/adapter.h"
#include "optim/optimizer.h"
#include "reward/reward_scorer.h"
#include "rl/group_advantages.h"
#include "rl/rollout.h"

namespace drm::parity {
namespace {

using at::Tensor;

/// Advantages of rewards whose groups are the rows of the last axis, or given by `groups`.
Advantages advantages_of(const Tensor& rewards, const Tensor& groups, const AdvantageOptions& options) {
  const auto r = rewards.to(at::kCPU, at::kFloat).contiguous(), g = groups.to(at::kCPU, at::kLong).contiguous();
  return group_advantages({r.const_data_ptr<float>(), r.const_data_ptr<float>() + r.numel()},
                          {g.const_data_ptr<int64_t>(), g.const_data_ptr<int64_t>() + g.numel()}, options);
}

Tensor by_last_axis(const Tensor& rewards) {
  const auto n = rewards.size(-1);
  return at::arange(rewards.numel() / n, at::kLong).unsqueeze(1).expand({-1, n}).reshape(rewards.sizes());
}

Tensor shaped(const std::vector<float>& values, const Tensor& like) {
  return at::tensor(values, at::kFloat).view(like.sizes()).to(like.device());
}

Outputs check_grpo_adv(const Case& c) {
  Outputs out;
  AdvantageOptions options{c.at({"eps"}).as_double()}, global{options.epsilon, true};
  const auto gathered = c.in("gather.in.rewards"), one_group = at::zeros_like(gathered);
  const auto all = advantages_of(gathered, one_group, options);
  out["gather.out.adv"] = out["flat.out.adv"] = shaped(all.values, gathered);
  out["gather.out.mean"] = at::scalar_tensor(all.mean, at::kDouble);
  out["gather.out.std_biased"] = at::scalar_tensor(all.deviation, at::kDouble);
  // What ours is not: the unbiased deviation, for the contrast.
  const auto n = static_cast<double>(gathered.numel()), unbiased = all.deviation * std::sqrt(n / (n - 1));
  out["gather.out.std_unbiased"] = at::scalar_tensor(unbiased, at::kDouble);
  out["gather.out.adv_unbiased"] =
      out["gather.out.adv"].to(at::kDouble) * (all.deviation + options.epsilon) / (unbiased + options.epsilon);
  out["local.out.adv"] = shaped(advantages_of(gathered, by_last_axis(gathered), options).values, gathered);

  const auto scattered = c.in("multi.in.rewards"), prompts = c.in("multi.in.prompt_id");
  out["multi.out.adv_group_std"] = shaped(advantages_of(scattered, prompts, options).values, scattered);
  const auto by_all = advantages_of(scattered, prompts, global);
  out["multi.out.adv_global_std"] = shaped(by_all.values, scattered);
  out["multi.out.global_std"] = at::scalar_tensor(by_all.deviation, at::kDouble);

  const auto flat = c.in("zero_var.in.rewards");
  out["zero_var.out.adv"] = shaped(advantages_of(flat, by_last_axis(flat), options).values, flat);
  out["zero_var.out.keep"] = out["zero_var.out.adv"].ne(0).any(-1).to(at::kLong);

  const auto far = c.in("clip.in.rewards");
  out["clip.out.adv_global_std"] = shaped(advantages_of(far, by_last_axis(far), global).values, far);
  out["clip.out.adv_clipped"] = clamp_advantages(out["clip.out.adv_global_std"], c.at({"adv_clip_max"}).as_double());

  const auto steps = c.in("step.in.rewards");
  out["step.out.adv"] = shaped(advantages_of(steps, by_last_axis(steps), options).values, steps);
  return out;
}

Outputs check_grpo_loss(const Case& c) {
  Outputs out;
  const auto schedule = sampling_schedule({1000, c.at({"shift"}).as_double()}, c.at({"num_steps"}).as_int());
  for (const auto& sub : c.at({"sub_cases"}).items()) {
    const auto name = sub.as_string();
    const auto in = [&](const char* what) { return c.in(name + ".in." + what); };
    const auto put = [&](const std::string& what, const Tensor& value) { out[name + ".out." + what] = value; };
    const auto step = noisy_step(StepNoise::Sde, schedule.sigmas, c.at({"step_of_sub_case", name.c_str()}).as_int(),
                                 c.at({"a"}).as_double());
    const auto x = in("x"), next = in("x_next").unsqueeze(1), reference = in("v_ref");
    const auto mean_reference = step_mean(x, reference, step);
    put("mean_ref", mean_reference);
    const auto& betas = c.at({"betas"}).items();
    for (size_t b = 0; b < betas.size(); ++b)
      for (const auto& [kind, divergence] :
           {std::pair("flow", PolicyDivergence::Flow), std::pair("exact", PolicyDivergence::Exact)}) {
        const auto v = in("v_new").requires_grad_(true);
        const auto mean = step_mean(x, v, step);
        const auto log_prob = candidate_log_prob(StepNoise::Sde, next, mean, step);
        const auto l =
            policy_loss(log_prob, in("old_log_prob").unsqueeze(1), in("adv").unsqueeze(1),
                        policy_divergence(divergence, mean, mean_reference, v, reference, step),
                        {c.at({"clip_range"}).as_double(), c.at({"adv_clip_max"}).as_double(), betas[b].as_double()});
        l.total.backward();
        const auto at = std::string("b").append(std::to_string(b)) + "." + kind + ".";
        put(at + "loss", l.total);
        put(at + "policy_loss", l.policy);
        put(at + "kl_loss", l.kl);
        put(at + "grad_v", v.grad());
        put("mean", mean);
        put("log_prob", log_prob.squeeze(1));
        put("ratio", l.ratio.squeeze(1));
        put("approx_kl", l.approx_kl);
        put("clipfrac", l.clip_high + l.clip_low);
        put("clipfrac_gt_one", l.clip_high);
        put("clipfrac_lt_one", l.clip_low);
      }
  }
  return out;
}

Outputs check_ema(const Case& c) {
  Outputs out;
  const auto parameter = c.in("in.init").clone();
  const auto given = c.in("in.params");
  const EmaOptions options{c.at({"decay"}).as_double(), true, c.at({"update_interval"}).as_int(), 1};
  Ema ema({{"p", parameter}}, options);
  std::vector<Tensor> averages, decays, moved;
  auto before = ema.averages()[0].second.clone();
  for (int64_t i = 0; i < given.size(0); ++i) {
    parameter.copy_(given[i]);
    ema.update();
    const auto now = ema.averages()[0].second.clone();
    averages.push_back(now);
    moved.push_back(now.ne(before).any().to(at::kLong));
    // The decay of each step, by an average that moves at every one: ema = d * ema + (1 - d) * p from 0 to 1.
    Tensor one = at::zeros({1});
    Ema each({{"one", one}}, {options.decay, true, 1, 1 + i});
    one.fill_(1);
    each.update();
    decays.push_back(1 - each.averages()[0].second[0]);
    before = now;
  }
  out["out.ema"] = at::stack(averages);
  out["out.decay"] = at::stack(decays);
  out["out.updated"] = at::stack(moved);
  return out;
}

/// A tiny policy with its adapter and its reward model, as the case holds them.
struct Networks {
  Sd3 policy;
  RewardNet reward;
  std::vector<AdaptedLayer> adapted;
  NamedTensors adapters;

  explicit Networks(const Case& c)
      : policy(make_mmdit(mmdit_config(c.at({"policy"})))), reward(make_reward_net(reward_config(c.at({"drm"})))) {
    each_tensor(policy, [&](const std::string& name, Tensor& t) { t = c.in("policy." + name); });
    each_tensor(reward, [&](const std::string& name, Tensor& t) { t = c.in("drm." + name); });
    LoraConfig config{c.at({"lora", "rank"}).as_int(), c.at({"lora", "alpha"}).as_double(), {}};
    for (const auto& target : c.at({"lora", "targets"}).items()) config.targets.push_back(target.as_string());
    adapted = find_targets(policy, config.targets);
    add_lora(adapted, config, at::Generator());
    adapters = lora_tensors(adapted);
    for (auto& [name, t] : adapters) {
      t.copy_(c.in("lora." + name));
      t.requires_grad_(true);
    }
  }
};

TextEmbedding repeated(const TextEmbedding& text, int64_t each) {
  return {text.context_BLD.repeat_interleave(each, 0), text.pooled_BD.repeat_interleave(each, 0)};
}

/// Both algorithms end to end. `group`: trajectories a prompt; with candidates 1.
Outputs check_policy_training(const Case& c, int64_t group, int64_t k) {
  Outputs out;
  Networks nets(c);
  const auto scale = c.at({"guidance_scale"}).as_double();
  const auto steps = c.at({"T"}).as_int(), trained = c.at({"train_steps"}).as_int();
  const auto schedule = sampling_schedule({1000, c.at({"shift"}).as_double()}, steps);
  const auto latents = c.in("in.latents");
  const auto n = latents.size(0);
  const auto embedded = [&](const VelocityModel& m, const char* context, const char* pooled, int64_t each) {
    return repeated(m.embed_text({c.in(context), c.in(pooled)}), each);
  };
  const auto policys = text_for_guidance(
      {embedded(nets.policy, "in.ctx", "in.pooled", group), embedded(nets.policy, "in.neg_ctx", "in.neg_pooled", n)},
      scale);
  const auto velocity_at = [&](const Tensor& x, int64_t i) {
    return guided_velocity(nets.policy, x, schedule.timesteps[static_cast<size_t>(i)], policys, scale);
  };

  std::vector<Tensor> velocities, means;
  const RolloutNoise noise{[&](const Tensor& x, const GuidedVelocity& v, const SdeStep& step, int64_t index, int64_t) {
                             velocities.push_back(guided(v));
                             means.push_back(step_mean(x, velocities.back(), step));
                             const auto given = c.in("in.noise")[index];
                             return composite::branch(x, v, step, k > 1 ? given : given.unsqueeze(0));
                           },
                           [&](int64_t index, int64_t) { return c.in("in.choice")[index]; }};
  RolloutOptions options;
  options.k = k;
  options.noise_level = c.at({"a"}).as_double();
  options.until = steps;
  const at::AutoGradMode gradients(true);
  Trajectories walked;
  {
    const at::NoGradGuard no_grad;
    walked =
        roll_out(velocity_at, latents, schedule, options, noise,
                 {{reward_scorer(nets.reward, embedded(*nets.reward.backbone, "in.ctx", "in.pooled", group))}}, {});
  }
  std::vector<Tensor> states, candidates, old, scores;
  for (const auto& s : walked.steps) {
    states.push_back(s.state);
    candidates.push_back(s.candidates);
    old.push_back(k > 1 ? s.old_log_prob : s.old_log_prob.squeeze(1));
    if (k > 1) scores.push_back(s.scores[0]);
  }
  states.push_back(walked.final);
  out["out.x"] = at::stack(states);
  out["out.v"] = at::stack(velocities);
  out["out.mean"] = at::stack(means);
  out["out.old_log_prob"] = at::stack(old);
  out["out.rewards"] = k > 1 ? at::stack(scores) : walked.scores[0].view({-1, group});
  const auto& rewards = out["out.rewards"];
  out["out.adv"] =
      shaped(advantages_of(rewards, by_last_axis(rewards), {c.at({"adv_eps"}).as_double()}).values, rewards);
  if (k > 1) {
    out["out.candidates"] = at::stack(candidates);
    out["out.argmax"] = rewards.argmax(-1);
  }

  const PolicyLossOptions loss_options{c.at({"clip_range"}).as_double(), c.at({"adv_clip_max"}).as_double(),
                                       c.at({"beta"}).as_double()};
  std::map<std::string, std::vector<Tensor>> record;
  const auto gradients_of = [&](bool detach_unconditional) {
    record.clear();
    for (auto& [name, p] : nets.adapters) p.mutable_grad() = Tensor();
    for (int64_t j = 0; j < trained; ++j) {
      const auto& s = walked.steps[static_cast<size_t>(j)];
      auto v = velocity_at(s.state, j);
      if (detach_unconditional) v.unconditional = v.unconditional.detach();
      const auto mean = step_mean(s.state, guided(v), s.step);
      Tensor reference;
      {
        const at::NoGradGuard no_grad;
        enable_lora(nets.adapted, false);
        reference = step_mean(s.state, guided(velocity_at(s.state, j)), s.step);
        enable_lora(nets.adapted, true);
      }
      const auto log_prob = candidate_log_prob(StepNoise::Sde, s.candidates, mean, s.step);
      const auto advantages = k > 1 ? out["out.adv"][j] : out["out.adv"].reshape({-1, 1});
      const auto l =
          policy_loss(log_prob, s.old_log_prob, advantages,
                      policy_divergence(PolicyDivergence::Flow, mean, reference, {}, {}, s.step), loss_options);
      (l.total / static_cast<double>(trained)).backward();
      const auto flat = [&](const Tensor& t) { return (k > 1 ? t : t.squeeze(1)).detach(); };
      for (const auto& [name, value] :
           std::initializer_list<std::pair<const char*, Tensor>>{{"loss", l.total.detach()},
                                                                 {"policy_loss", l.policy.detach()},
                                                                 {"kl_loss", l.kl.detach()},
                                                                 {"log_prob", flat(log_prob)},
                                                                 {"ratio", flat(l.ratio)},
                                                                 {"approx_kl", l.approx_kl},
                                                                 {"clipfrac", l.clip_high + l.clip_low}})
        record[name].push_back(value);
    }
  };
  const auto keep = [&](const std::string& prefix) {
    for (const auto& [name, p] : nets.adapters)
      out[prefix + name] = p.grad().defined() ? p.grad().clone() : at::zeros_like(p);
  };
  gradients_of(true);
  keep("grad_detach_uncond.");
  const auto& o = c.at({"optimizer"});
  AdamW adamw(nets.adapters, {o.find("lr")->as_double(), o.find("betas")->items()[0].as_double(),
                              o.find("betas")->items()[1].as_double(), o.find("eps")->as_double(),
                              o.find("weight_decay")->as_double()});
  for (const auto* update : {"1", "2"}) {
    gradients_of(false);
    keep(std::string("grad") + update + ".");
    const auto at = std::string("out.u") + update + ".";
    for (const auto& [name, values] : record) out[at + name] = at::stack(values);
    out[at + "grad_norm"] = clip_gradients(nets.adapters, o.find("max_grad_norm")->as_double());
    adamw.step();
    for (const auto& [name, p] : nets.adapters) out[std::string("after") + update + "." + name] = p.detach().clone();
  }
  return out;
}

}  // namespace

bool check_policy_case(const std::string& kind, const Case& c, Outputs& out) {
  if (kind == "grpo_adv")
    out = check_grpo_adv(c);
  else if (kind == "grpo_loss")
    out = check_grpo_loss(c);
  else if (kind == "ema")
    out = check_ema(c);
  else if (kind == "grpo")
    out = check_policy_training(c, c.at({"G"}).as_int(), 1);
  else if (kind == "step_grpo")
    out = check_policy_training(c, 1, c.at({"k"}).as_int());
  else
    return false;
  // Stored once more in fp64: of ours there is one form.
  for (const auto& [name, info] : c.io->tensors())
    if (name.ends_with("_f64"))
      if (const auto it = out.find(name.substr(0, name.size() - 4)); it != out.end()) out[name] = it->second;
  return true;
}

}  // namespace drm::parity
