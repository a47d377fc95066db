// Cases of the reward model: how each stored tensor is recomputed.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "case.h"
#include "configs.h"
#include "flow/scheduler.h"
#include "flow/timesteps.h"
#include "optim/optimizer.h"
#include "reward/bradley_terry.h"
#include "reward/reward_net.h"

namespace drm::parity {
namespace {

using at::Tensor;

Outputs check_bt_loss(const Case& c) {
  Outputs out;
  auto win = c.in("in.s_win").requires_grad_(true), lose = c.in("in.s_lose").requires_grad_(true);
  out["out.loss_each"] = preference_loss(win, lose);
  out["out.loss"] = out["out.loss_each"].mean();
  out["out.loss"].backward();
  out["out.grad_win"] = win.grad();
  out["out.grad_lose"] = lose.grad();
  out["out.prob_win"] = at::exp(-out["out.loss_each"]);
  const auto strict = preferred(win, lose);
  out["out.acc_strict"] = strict.mean();
  out["out.acc_half"] = (0.5 * (strict + 1 - preferred(lose, win))).mean();
  out["out.x_t"] = add_noise(c.in("in.x0"), c.in("in.noise"), c.in("in.t"));

  const auto u = c.in("in.u");
  const double shift = c.at({"shift"}).as_double();
  TimestepDistribution logit_normal{true, c.at({"logit_normal", "mean"}).as_double(),
                                    c.at({"logit_normal", "std"}).as_double()},
      uniform{false};
  const auto shifted = [&](const Tensor& t) { return shift * t / (1 + (shift - 1) * t); };
  out["out.normal_of_u"] = at::logit(distribute({true, 0, 1}, u));
  const auto table = training_schedule({c.at({"n_train"}).as_int(), shift});
  for (const auto& [name, distribution] : {std::pair("uniform", uniform), std::pair("logit_normal", logit_normal)}) {
    const std::string n = name;
    const auto t = distribute(distribution, u);
    out["out.t_" + n] = t;
    out["out.t_" + n + "_shifted"] = shifted(t);
    const auto levels = look_up_levels(table, t);
    out["out.sigma_" + n] = levels.sigma;
    out["out.timestep_" + n] = levels.timestep;
    // The table descends without repeating itself: a level tells its index.
    out["out.index_" + n] = c.in("in.train_sigmas_shift").unsqueeze(0).sub(levels.sigma.unsqueeze(1)).abs().argmin(1);
  }
  return out;
}

Outputs check_drm(const Case& c) {
  Outputs out;
  auto net = make_reward_net(reward_config(c.doc));
  load_reward_net(net, {c.folder + "io.safetensors"}, at::kFloat, device);
  {
    const at::NoGradGuard no_grad;
    const auto text = net.backbone->embed_text({c.in("in.ctx"), c.in("in.pooled")});
    const auto timesteps = c.in("in.timesteps");
    for (size_t i = 0; i < c.at({"resolutions"}).items().size(); ++i) {
      const auto run = std::string("r").append(std::to_string(i));
      const auto x = c.in("in." + run + ".x");
      std::vector<Tensor> features, scores;
      for (int64_t j = 0; j < timesteps.size(0); ++j) {
        const auto t = timesteps[j].expand({x.size(0)});
        features.push_back(net.backbone->velocity(x, t, text));
        scores.push_back(reward(net, x, t, text));
      }
      out["out." + run + ".features"] = at::stack(features);
      out["out." + run + ".scores"] = at::stack(scores);
    }
    out["out.head.scores"] = reward_of_map(net, c.in("in.head.map"));
  }

  NamedTensors parameters;
  each(net, [&](const std::string& name, auto& leaf) {
    if constexpr (!std::is_same_v<std::decay_t<decltype(leaf)>, Buffer>)
      each_tensor(name, leaf,
                  [&](const std::string& key, Tensor& t) { parameters.emplace_back(key, t.requires_grad_(true)); });
  });
  struct Step {
    Tensor loss, win, lose;
  };
  const auto step = [&](int64_t i) -> Step {
    const auto sigma = c.in("in.bt.sigma")[i], timestep = c.in("in.bt.timestep")[i];
    const auto noised = [&](const std::string& side) {
      return add_noise(c.in("in.bt.x0_" + side), c.in("in.bt.noise_" + side)[i], sigma);
    };
    // Both images in one batch, as in training.
    const auto text = net.backbone->embed_text(
        {at::cat({c.in("in.bt.ctx"), c.in("in.bt.ctx")}), at::cat({c.in("in.bt.pooled"), c.in("in.bt.pooled")})});
    const auto scores =
        reward_of_pairs(net, at::cat({noised("win"), noised("lose")}), at::cat({timestep, timestep}), text);
    return {preference_loss(scores.chosen, scores.rejected).mean(), scores.chosen, scores.rejected};
  };
  const auto& o = c.at({"optimizer"});
  AdamW adamw(parameters, {o.find("lr")->as_double(), o.find("betas")->items()[0].as_double(),
                           o.find("betas")->items()[1].as_double(), o.find("eps")->as_double(),
                           o.find("weight_decay")->as_double()});
  std::map<std::string, std::vector<Tensor>> record;
  for (int64_t i = 0; i < o.find("steps")->as_int(); ++i) {
    adamw.zero_gradients();
    const auto s = step(i);
    s.loss.backward();
    if (i == 0) {
      out["out.bt.loss"] = s.loss;
      out["out.bt.s_win"] = s.win;
      out["out.bt.s_lose"] = s.lose;
      out["out.bt.grad_norm"] = clip_gradients(parameters, 0);
      for (const auto& [name, p] : parameters)
        if (p.grad().defined()) out["grad." + name] = p.grad().clone();
    }
    record["loss"].push_back(s.loss.detach());
    record["s_win"].push_back(s.win.detach());
    record["s_lose"].push_back(s.lose.detach());
    record["grad_norm"].push_back(clip_gradients(parameters, o.find("max_grad_norm")->as_double()));
    adamw.step();
  }
  for (const auto& [name, values] : record) out["out.ft." + name] = at::stack(values);
  // What is not part of the truncated model is written as it was read.
  for (const auto& [name, info] : c.io->tensors())
    if (name.starts_with("after.")) out[name] = c.stored(name.substr(6));
  for (const auto& [name, p] : parameters) out["after." + name] = p;
  return out;
}

}  // namespace

bool check_reward_case(const std::string& kind, const Case& c, Outputs& out) {
  if (kind == "bt_loss")
    out = check_bt_loss(c);
  else if (kind == "drm")
    out = check_drm(c);
  else
    return false;
  return true;
}

}  // namespace drm::parity
