#include "flow/sampler.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "common/stopwatch.h"
#include "random/philox.h"

namespace drm {
namespace {

/// What went wrong first, for each row of a batch: the step at which its latents stopped being finite, and the one at
/// which all of its candidates' rewards were NaN (unscored); -1 for never. Filled on the device, read when that costs
/// nothing.
class Faults {
 public:
  Faults(const Tensor& latents, const Schedule& schedule)
      : schedule_(schedule),
        not_finite_(at::full({latents.size(0)}, -1, latents.options().dtype(at::kInt))),
        unscored(at::full_like(not_finite_, -1)) {}

  void look(const Tensor& latents, int64_t step) {
    looked_ = true;
    const auto broken = at::isfinite(latents).flatten(1).all(1).logical_not() & not_finite_.lt(0);
    not_finite_ = at::where(broken, step, not_finite_).to(at::kInt);
  }

  /// Waits for the device if anything was looked at there. Throws Failure(NotFinite) for the earliest fault.
  void raise() const {
    if (!looked_ && !unscored.is_cpu()) return;
    const auto broken = first(not_finite_), all_nan = first(unscored);
    if (broken.step >= 0 && (all_nan.step < 0 || broken.step <= all_nan.step))
      fail(broken.step, "expected finite latents, found NaN or infinity in image " + broken.rows +
                            " of the batch; if it is step 1 the transformer's weights are damaged (verify them with "
                            "`drm pull`), else try --dtype fp32");
    if (all_nan.step >= 0)
      fail(all_nan.step, "expected a score for at least one candidate, found NaN for all candidates of image " +
                             all_nan.rows +
                             " of the batch; the reward model's weights are damaged or overflow: try "
                             "--dtype fp32, or --score-from and --score-until to pass over this step");
  }

 private:
  struct First {
    int64_t step = -1;
    std::string rows;
  };
  static First first(const Tensor& steps) {
    const auto values = steps.to(at::kCPU);
    const auto* at = values.const_data_ptr<int32_t>();
    First f;
    for (int64_t b = 0; b < values.size(0); ++b)
      if (at[b] >= 0 && (f.step < 0 || at[b] < f.step)) f.step = at[b];
    for (int64_t b = 0; b < values.size(0); ++b)
      if (at[b] >= 0 && at[b] == f.step) f.rows += (f.rows.empty() ? "" : ", ") + std::to_string(b);
    return f;
  }
  [[noreturn]] void fail(int64_t step, const std::string& what) const {
    const auto steps = std::to_string(schedule_.timesteps.size());
    throw Failure(Code::NotFinite,
                  "[denoise] step " + std::to_string(step + 1) + " of " + steps + " (timestep " +
                      std::to_string(schedule_.timesteps[static_cast<size_t>(step)]) + "): " + what,
                  {{"step", std::to_string(step + 1)}, {"steps", steps}});
  }

  const Schedule& schedule_;
  Tensor not_finite_;
  bool looked_ = false;

 public:
  Tensor unscored;
};

void check(const Stepwise& s, int64_t batch) {
  const auto refuse = [](const std::string& what) { throw Failure(Code::BadRequest, "[sample] " + what); };
  if (s.k < 1 || s.k > kMostCandidates)
    refuse("k: expected 1 to " + std::to_string(kMostCandidates) + " candidates, found " + std::to_string(s.k));
  if (!s.adds_noise()) return;
  if (!(s.noise_level > 0) || !std::isfinite(s.noise_level))
    refuse("noise level: expected a number above 0, found " + std::to_string(s.noise_level) +
           "; without noise all candidates are the same");
  if (!(s.temperature >= 0) || !std::isfinite(s.temperature))
    refuse("temperature of the choice: expected a number above 0, or 0 for the best, found " +
           std::to_string(s.temperature));
  if (!(s.score_from >= 0 && s.score_from <= s.score_until && s.score_until <= 1))
    refuse("part of the trajectory to score: expected 0 <= from <= until <= 1, found " + std::to_string(s.score_from) +
           " to " + std::to_string(s.score_until));
  if (!s.score && s.k > 1) refuse("k: expected 1 without a reward, found " + std::to_string(s.k));
  if (static_cast<int64_t>(s.seeds.size()) != batch)
    throw Failure(Code::Internal,
                  "[sample] " + std::to_string(s.seeds.size()) + " seeds for " + std::to_string(batch) + " images");
}

/// A number in (0, 1) for each step and image, (steps, B): made before the loop, so that the loop copies nothing.
Tensor choice_uniforms(const std::vector<uint64_t>& seeds, int64_t steps, at::Device device) {
  auto u = at::empty({steps, static_cast<int64_t>(seeds.size())}, at::kFloat);
  auto* p = u.data_ptr<float>();
  for (int64_t i = 0; i < steps; ++i)
    for (const auto seed : seeds)
      *p++ = uniform_from(philox({seed, Purpose::Continue, static_cast<uint32_t>(i)}, 0).word[0]);
  return u.to(device);
}

}  // namespace

Tensor initial_latents(uint64_t seed, int64_t channels, int64_t height, int64_t width, at::ScalarType dtype) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn({1, channels, height, width}, generator, at::TensorOptions().dtype(dtype)).to(at::kFloat);
}

Tensor score_candidates(const LatentScorer& score, const Tensor& candidates, double sigma, int64_t rows_per_pass) {
  const auto k = candidates.size(1), rows = candidates.size(0) * k;
  const auto flat = candidates.flatten(0, 1);
  const auto most = rows_per_pass > 0 ? std::min(rows_per_pass, rows) : rows;
  std::vector<Tensor> parts;
  for (int64_t at = 0; at < rows; at += most) {
    const auto n = std::min(most, rows - at);
    std::vector<int64_t> image_of(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) image_of[static_cast<size_t>(i)] = (at + i) / k;
    auto scores = score(flat.narrow(0, at, n), sigma, image_of).to(at::kFloat);
    if (scores.dim() != 1 || scores.size(0) != n)
      throw Failure(Code::Internal, "[sample] the reward gave another number of scores than it was given candidates");
    parts.push_back(std::move(scores));
  }
  return at::cat(parts).view({-1, k});
}

TextEmbedding text_for_guidance(const Conditioning& text, double scale) {
  if (scale <= 1) return text.conditional;
  return join_rows({text.unconditional, text.conditional});
}

GuidedVelocity guided_velocity(const VelocityModel& m, const Tensor& latents, float timestep, const TextEmbedding& text,
                               double scale, const VelocityOptions& options) {
  const auto batch = latents.size(0);
  const auto x = latents.to(m.dtype());
  const auto timesteps = at::full({text.rows()}, timestep, latents.options());
  if (scale <= 1) return {{}, m.velocity(x, timesteps, text, options), 1};
  const auto v = m.velocity(at::cat({x, x}, 0), timesteps, text, options);
  return {v.narrow(0, 0, batch), v.narrow(0, batch, batch), scale};
}

GuidedPolicy network_policy(const VelocityModel& m, const Conditioning& text, const Schedule& schedule,
                            const Guidance& guidance) {
  return [&m, &text, &schedule, &guidance, both = text_for_guidance(text, guidance.scale)](const Tensor& latents,
                                                                                           int64_t i) {
    const auto batch = latents.size(0), steps = static_cast<int64_t>(schedule.timesteps.size());
    auto v = guided_velocity(m, latents, schedule.timesteps[i], both, guidance.scale);
    if (!v.unconditional.defined() || guidance.skip.layers.empty() || i <= steps * guidance.skip.start ||
        i >= steps * guidance.skip.stop)
      return v;
    const auto timestep = at::full({batch}, schedule.timesteps[i], latents.options());
    const auto skipped = m.velocity(latents.to(m.dtype()), timestep, text.conditional, {guidance.skip.layers, nullptr});
    const auto towards = v.conditional.to(at::kFloat) - skipped.to(at::kFloat);
    return GuidedVelocity{{}, guided(v) + guidance.skip.scale * towards, 1};
  };
}

Tensor denoise(const GuidedPolicy& policy, Tensor latents, const Schedule& schedule, const Stepwise& stepwise,
               const Control& control, const StepObserver& observer, SamplingTimes* times) {
  const auto batch = latents.size(0), steps = static_cast<int64_t>(schedule.timesteps.size());
  check(stepwise, batch);
  // A plain step reads back whether its latents are finite, beside a network pass of milliseconds at least: an image
  // of NaN found at the end, minutes later and without the step, is worth more than that. With candidates the device is
  // kept busy instead, and told apart at the end; a CPU has nothing to wait for.
  const bool look_each_step = latents.is_cpu() || stepwise.k == 1;
  Faults faults(latents, schedule);
  Tensor keys, uniforms;
  if (stepwise.adds_noise()) {
    keys = branch_keys(stepwise.seeds, std::vector<int64_t>(stepwise.seeds.size()), latents.device());
    if (stepwise.temperature > 0) uniforms = choice_uniforms(stepwise.seeds, steps, latents.device());
  }
  const auto timed = [&](double SamplingTimes::*part) { return Stopwatch(times ? &(times->*part) : nullptr); };
  Walk w;
  w.branch = [&](const Tensor& x, const GuidedVelocity& velocity, int64_t i) -> Tensor {
    if (!stepwise.branches_at(i, steps)) return {};
    const auto next = schedule.sigmas[static_cast<size_t>(i) + 1];
    Tensor candidates, scores;
    Selected selected;
    {
      const auto clock = timed(&SamplingTimes::branch);
      candidates = branch(x, velocity, sde_step(schedule.sigmas, i, stepwise.noise_level), keys, i, stepwise.k);
    }
    if (stepwise.k == 1) return candidates.squeeze(1);
    {
      const auto clock = timed(&SamplingTimes::reward);
      scores = score_candidates(stepwise.score, candidates, next, stepwise.rows_per_pass);
    }
    {
      const auto clock = timed(&SamplingTimes::branch);
      const Choice choice{stepwise.temperature, uniforms.defined() ? uniforms[i] : Tensor()};
      selected = select(candidates, scores, choice, i, faults.unscored);
    }
    if (stepwise.observer) stepwise.observer({i, next, candidates, scores, selected.index});
    return selected.latents;
  };
  w.after = [&](const Tensor& x, const GuidedVelocity& velocity, int64_t i) {
    if (!look_each_step || !at::isfinite(x).all().item<bool>()) faults.look(x, i);
    if (look_each_step) faults.raise();
    if (observer) observer({i, schedule.timesteps[static_cast<size_t>(i)], velocity, x});
  };
  const GuidedPolicy timed_policy = [&](const Tensor& x, int64_t i) {
    const auto clock = timed(&SamplingTimes::policy);
    return policy(x, i);
  };
  latents = walk(timed_policy, std::move(latents), schedule, w, control);
  if (!look_each_step) faults.raise();
  return latents;
}

Tensor denoise(const VelocityModel& m, Tensor latents, const Conditioning& text, const Schedule& schedule,
               const Guidance& guidance, const Control& control, const StepObserver& observer) {
  return denoise(network_policy(m, text, schedule, guidance), std::move(latents), schedule, {}, control, observer);
}

}  // namespace drm
