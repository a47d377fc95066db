// Cases of the SDE step and of branching: how each stored tensor is recomputed.
#include <ATen/ATen.h>

#include "case.h"
#include "common/failure.h"
#include "flow/branch.h"
#include "flow/scheduler.h"
#include "flow/select.h"
#include "rl/policy_loss.h"

namespace drm::parity {
namespace {

using at::Tensor;

std::vector<float> levels(const Tensor& sigmas) {
  const auto dense = sigmas.contiguous();
  return {dense.const_data_ptr<float>(), dense.const_data_ptr<float>() + dense.numel()};
}

std::vector<double> numbers(const Json& list) {
  std::vector<double> all;
  for (const auto& item : list.items()) all.push_back(item.as_double());
  return all;
}

/// The stored grids are inputs of the other values, and equal ours exactly.
void require_same_grids(const Case& c) {
  const double shift = c.at({"shift"}).as_double();
  const auto same = [&](const std::string& name, const std::vector<float>& ours) {
    if (levels(c.stored(name)) != ours)
      throw Failure(Code::BadFile, name + ": expected the sampling grid of rl.md section 1, ours differs");
  };
  for (const auto& [name, info] : c.io->tensors()) {
    const std::string prefix = "in.schedule.", suffix = ".sigmas";
    if (!name.starts_with(prefix) || !name.ends_with(suffix)) continue;
    const auto n = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
    const auto schedule = sampling_schedule({1000, shift}, std::stoll(n));
    same(name, schedule.sigmas);
    same(prefix + n + ".timesteps", schedule.timesteps);
  }
  same("in.sigmas", sampling_schedule({1000, shift}, c.at({"num_steps"}).as_int()).sigmas);
}

/// Values of steps in the order they were computed, [outer, step, ...] when all is there.
class Record {
 public:
  void add(const std::string& name, const Tensor& value) { values_[name].push_back(value); }
  void add(const std::string& name, double value) { add(name, at::scalar_tensor(value, at::kDouble)); }
  void write(Outputs& out, const std::string& prefix, int64_t outer) const {
    for (const auto& [name, list] : values_) {
      const auto all = at::stack(list);
      out[prefix + name] = all.unflatten(0, {outer, -1});
      if (name.starts_with("log_prob")) out[prefix + name + "_f64"] = out[prefix + name];
    }
  }

 private:
  std::map<std::string, std::vector<Tensor>> values_;
};

Tensor sum_of_rows(const Tensor& t) { return t.flatten(1).sum(1); }

Outputs check_sde_step(const Case& c) {
  require_same_grids(c);
  Outputs out;
  const auto sigmas = levels(c.stored("in.sigmas"));
  const auto x = c.in("in.x"), v = c.in("in.v"), v_ref = c.in("in.v_ref"), eps = c.in("in.eps"),
             given = c.in("in.x_given");
  const auto noise_levels = numbers(c.at({"a"})), cps_levels = numbers(c.at({"cps_noise_level"}));
  const auto steps = x.size(0), elements = x[0][0].numel();
  Record sde;
  for (size_t i = 0; i < noise_levels.size(); ++i)
    for (int64_t j = 0; j < steps; ++j) {
      const auto step = sde_step(sigmas, j, noise_levels[i]);
      const auto mean = step_mean(x[j], v[j], step), reference = step_mean(x[j], v_ref[j], step),
                 next = step_next(mean, eps[j], step), stored = given[static_cast<int64_t>(i)][j];
      sde.add("std_dev", step.std_dev);
      sde.add("noise_std", step.noise_std);
      sde.add("mean", mean);
      sde.add("mean_ref", reference);
      sde.add("x_next", next);
      sde.add("log_prob_mean", log_prob(next, mean, step));
      sde.add("log_prob_sum", sum_of_rows(element_log_prob(next, mean, step)));
      sde.add("log_prob_given_mean", log_prob(stored, mean, step));
      sde.add("log_prob_given_sum", sum_of_rows(element_log_prob(stored, mean, step)));
      const auto exact = step_divergence(mean, reference, step, Divergence::Exact);
      sde.add("kl_flow", step_divergence(mean, reference, step, Divergence::Flow));
      sde.add("kl_exact_mean", exact);
      sde.add("kl_exact_sum", exact * elements);
    }
  sde.write(out, "out.", static_cast<int64_t>(noise_levels.size()));

  std::vector<Tensor> euler;
  for (int64_t j = 0; j < steps; ++j) euler.push_back(step_mean(x[j], v[j], {sde_step(sigmas, j, 0)}));
  out["out.ode_x_next"] = at::stack(euler);

  Record cps;
  for (const auto level : cps_levels)
    for (int64_t j = 0; j < steps; ++j) {
      const auto step = cps_step(sigmas, j, level);
      const auto mean = step_mean(x[j], v[j], step), next = step_next(mean, eps[j], step);
      cps.add("std", step.noise_std);
      cps.add("mean", mean);
      cps.add("x_next", next);
      cps.add("log_prob", cps_log_prob(next, mean));
    }
  cps.write(out, "out.cps.", static_cast<int64_t>(cps_levels.size()));

  // One step a row.
  const auto which = c.in("in.mixed.step");
  std::vector<SdeStep> mixed;
  for (int64_t b = 0; b < which.size(0); ++b)
    mixed.push_back(sde_step(sigmas, which[b].item<int64_t>(), c.at({"mixed_a"}).as_double()));
  std::vector<Tensor> means, nexts, log_probs;
  for (size_t b = 0; b < mixed.size(); ++b) {
    const auto row = [&](const char* name) { return c.in(name).narrow(0, static_cast<int64_t>(b), 1); };
    means.push_back(step_mean(row("in.mixed.x"), row("in.mixed.v"), mixed[b]));
    nexts.push_back(step_next(means.back(), row("in.mixed.eps"), mixed[b]));
    log_probs.push_back(log_prob(nexts.back(), means.back(), mixed[b]));
  }
  out["out.mixed.mean"] = at::cat(means);
  out["out.mixed.x_next"] = at::cat(nexts);
  out["out.mixed.log_prob_mean"] = at::cat(log_probs);
  return out;
}

Outputs check_branch_select(const Case& c) {
  Outputs out;
  const auto step = sde_step(levels(c.stored("in.sigmas")), c.at({"step"}).as_int(), c.at({"a"}).as_double());
  const GuidedVelocity velocity{{}, c.in("in.v"), 1};
  out["out.mean"] = step_mean(c.in("in.x"), velocity.conditional, step);
  const auto candidates = composite::branch(c.in("in.x"), velocity, step, c.in("in.noise"));
  out["out.candidates"] = candidates;
  out["out.log_prob_mean"] = out["out.log_prob_mean_f64"] =
      candidate_log_prob(StepNoise::Sde, candidates, out["out.mean"], step);

  const auto rewards = c.in("in.rewards"), uniforms = c.in("in.u");
  const auto temperatures = numbers(c.at({"taus"}));
  const auto batch = rewards.size(1);
  // The fused selection, and its definition, which must agree on every row.
  const auto choose = [&](int64_t set, const Choice& choice) -> Selected {
    auto unscored = at::full({batch}, -1, rewards.options().dtype(at::kInt)), unscored_by_definition = unscored.clone();
    const auto selected = select(candidates, rewards[set], choice, 0, unscored);
    const auto defined = composite::select(candidates, rewards[set], choice, 0, unscored_by_definition);
    if (!at::equal(selected.index, defined.index) || !at::equal(selected.latents, defined.latents) ||
        !at::equal(unscored, unscored_by_definition) || !at::equal(unscored.ge(0), rewards[set].isnan().all(1)))
      throw Failure(Code::Internal, "reward set " + std::to_string(set) + ": fused and composite selections differ");
    return selected;
  };
  std::vector<Tensor> best, next, probabilities, drawn;
  for (int64_t s = 0; s < rewards.size(0); ++s) {
    const auto selected = choose(s, {});
    best.push_back(selected.index);
    next.push_back(selected.latents);
  }
  for (const auto temperature : temperatures)
    for (int64_t s = 0; s < rewards.size(0); ++s) {
      probabilities.push_back(choice_probabilities(rewards[s], temperature));
      drawn.push_back(choose(s, {temperature, uniforms[s].contiguous()}).index);
    }
  out["out.argmax"] = at::stack(best);
  out["out.next_x"] = at::stack(next);
  const auto outer = static_cast<int64_t>(temperatures.size());
  out["out.probs"] = at::stack(probabilities).unflatten(0, {outer, -1});
  out["out.sampled"] = at::stack(drawn).unflatten(0, {outer, -1});
  return out;
}

}  // namespace

bool check_sampling_case(const std::string& kind, const Case& c, Outputs& out) {
  if (kind == "sde_step")
    out = check_sde_step(c);
  else if (kind == "branch_select")
    out = check_branch_select(c);
  else
    return false;
  return true;
}

}  // namespace drm::parity
