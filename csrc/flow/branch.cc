#include "flow/branch.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "common/failure.h"
#include "cuda/kernels.h"
#include "flow/scheduler.h"
#include "random/draws.h"

namespace drm {

using at::Tensor;

namespace {

bool wants_gradients(std::initializer_list<const Tensor*> tensors) {
  if (!at::GradMode::is_enabled()) return false;
  for (const auto* t : tensors)
    if (t->defined() && t->requires_grad()) return true;
  return false;
}

bool supported_velocity(const Tensor& x, const Tensor& v) {
  return !v.defined() || ((v.scalar_type() == at::kFloat || v.scalar_type() == at::kBFloat16) && v.is_contiguous() &&
                          v.sizes() == x.sizes() && v.device() == x.device());
}

/// Both halves in one dtype, everything dense and on one device; our kernels have no gradients.
bool fits(const Tensor& x, const Guided& v) {
  return (x.is_cpu() || x.is_cuda()) && x.scalar_type() == at::kFloat && x.is_contiguous() &&
         supported_velocity(x, v.unconditional) && supported_velocity(x, v.conditional) &&
         (!v.unconditional.defined() || v.unconditional.scalar_type() == v.conditional.scalar_type()) &&
         !wants_gradients({&x, &v.unconditional, &v.conditional});
}

void check(const Tensor& x, const SdeStep& step, const Tensor& keys, int64_t k) {
  if (step.euler()) throw Failure(Code::Internal, "[branch] a step without noise has no candidates");
  if (k < 1 || k >= int64_t{1} << 24)
    throw Failure(Code::BadRequest, "[branch] candidates: expected 1 to 16777215, found " + std::to_string(k));
  if (keys.dim() != 2 || keys.size(0) != x.size(0) || keys.size(1) != 2 || keys.scalar_type() != at::kLong)
    throw Failure(Code::Internal,
                  "[branch] expected a seed and a number for each of " + std::to_string(x.size(0)) + " rows");
}

Branches empty_branches(const Tensor& x, int64_t k) {
  auto shape = x.sizes().vec();
  shape.insert(shape.begin() + 1, k);
  return {at::empty(shape, x.options()), at::empty({x.size(0), k}, x.options())};
}

}  // namespace

Tensor guided(const Guided& v) {
  return v.unconditional.defined() ? guide(v.unconditional, v.conditional, v.scale) : v.conditional.to(at::kFloat);
}

Tensor branch_keys(const std::vector<uint64_t>& seeds, const std::vector<int64_t>& samples, at::Device device) {
  auto keys = at::empty({static_cast<int64_t>(seeds.size()), 2}, at::kLong);
  for (size_t i = 0; i < seeds.size(); ++i) {
    keys.data_ptr<int64_t>()[2 * i] = static_cast<int64_t>(seeds[i]);
    keys.data_ptr<int64_t>()[2 * i + 1] = samples.at(i);
  }
  return keys.to(device);
}

namespace composite {

Branches branch(const Tensor& x, const Guided& velocity, const SdeStep& step, const Tensor& noise) {
  const auto mean = step_mean(x, guided(velocity), {step});
  const auto candidates = step_next(mean, noise, {step}).transpose(0, 1).contiguous();
  const auto k = candidates.size(1);
  const auto means = mean.unsqueeze(1).expand_as(candidates).flatten(0, 1);
  return {candidates, log_prob(candidates.flatten(0, 1), means, {step}).view({-1, k})};
}

Branches branch(const Tensor& x, const Guided& velocity, const SdeStep& step, const Tensor& keys, int64_t step_index,
                int64_t k) {
  const auto on_host = keys.to(at::kCPU);  // waits for the device: this form is the definition, not the fast path
  std::vector<Tensor> noise;
  for (int64_t i = 0; i < k; ++i) {
    std::vector<Tensor> rows;
    for (int64_t b = 0; b < x.size(0); ++b) {
      const auto* key = on_host.data_ptr<int64_t>() + 2 * b;
      rows.push_back(draw_normal({static_cast<uint64_t>(key[0]), Purpose::Branch, static_cast<uint32_t>(step_index), 0,
                                  static_cast<uint32_t>(i)},
                                 {key[1]}, x.sizes().slice(1), x.device()));
    }
    noise.push_back(at::cat(rows));
  }
  return branch(x, velocity, step, at::stack(noise));
}

Selected select(const Tensor& candidates, const Tensor& rewards, const Choice& choice, int64_t step_index,
                Tensor& lost) {
  const auto k = rewards.size(1);
  const auto order = at::arange(k, rewards.options().dtype(at::kLong));
  const auto valid = rewards.isnan().logical_not();
  Tensor index;
  if (choice.temperature > 0) {
    const auto p = choice_probabilities(rewards, choice.temperature);
    const auto possible = p.gt(0), reached = p.cumsum(1).gt(choice.uniforms.to(at::kDouble).unsqueeze(1)) & possible;
    const auto last = at::where(possible, order, -1).amax(1);  // rounding may leave the sum below the number
    index = at::where(reached, order, k).amin(1).minimum(last);
  } else {
    const auto best = at::where(valid, rewards, -std::numeric_limits<float>::infinity()).amax(1, true);
    index = at::where(valid & rewards.eq(best), order, k).amin(1);
    index = at::where(index.eq(k), 0, index);
  }
  const auto none = valid.any(1).logical_not() & lost.lt(0);
  lost.copy_(at::where(none, step_index, lost));
  const auto row = at::arange(candidates.size(0), index.options());
  return {candidates.flatten(0, 1).index_select(0, row * k + index), index};
}

}  // namespace composite

Tensor choice_probabilities(const Tensor& rewards, double temperature) {
  const auto r = rewards.to(at::kDouble);
  const auto minus_infinity = -std::numeric_limits<double>::infinity();
  const auto valid = r.isnan().logical_not(), live = at::where(valid, r, minus_infinity);
  const auto best = live.amax(-1, true);
  // Where the best is infinite (all -inf: no row is NaN there), those that equal it share; where all is NaN, all do.
  const auto sharing = at::where(valid.any(-1, true), valid & r.eq(best), true).to(at::kDouble);
  const auto shared = sharing / sharing.sum(-1, true);
  return at::where(best.isinf(), shared, at::softmax(live / temperature, -1));
}

Branches branch(const Tensor& x, const Guided& velocity, const SdeStep& step, const Tensor& keys, int64_t step_index,
                int64_t k) {
  check(x, step, keys, k);
  if (velocity.conditional.scalar_type() == at::kHalf) {  // the kernels read fp32 and bf16; nothing is lost
    const auto wide = [](const Tensor& v) { return v.defined() ? v.to(at::kFloat) : v; };
    return branch(x, {wide(velocity.unconditional), wide(velocity.conditional), velocity.scale}, step, keys, step_index,
                  k);
  }
  if (fits(x, velocity)) {
    auto out = empty_branches(x, k);
    if (x.is_cpu()) {
      fused::cpu::branch(x, velocity, step, keys, step_index, out);
      return out;
    }
    if (cuda::branch(x, velocity.unconditional, velocity.conditional, velocity.scale, step, keys, step_index,
                     out.candidates, out.log_prob))
      return out;
  }
  return composite::branch(x, velocity, step, keys, step_index, k);
}

Selected select(const Tensor& candidates, const Tensor& rewards, const Choice& choice, int64_t step_index,
                Tensor& lost) {
  if (rewards.dim() != 2 || rewards.size(0) != candidates.size(0) || rewards.size(1) != candidates.size(1) ||
      rewards.size(1) < 1)
    throw Failure(Code::Internal, "[select] expected a reward for each of " + std::to_string(candidates.size(0)) +
                                      " x " + std::to_string(candidates.size(1)) + " candidates");
  const auto plain = [&](const Tensor& t) { return t.scalar_type() == at::kFloat && t.is_contiguous(); };
  const auto beside = [&](const Tensor& t) { return !t.defined() || t.device() == candidates.device(); };
  if ((candidates.is_cpu() || candidates.is_cuda()) && plain(candidates) && plain(rewards) && beside(rewards) &&
      beside(choice.uniforms) && beside(lost) && !wants_gradients({&candidates, &rewards})) {
    auto shape = candidates.sizes().vec();
    shape.erase(shape.begin() + 1);
    Selected out{at::empty(shape, candidates.options()),
                 at::empty({candidates.size(0)}, candidates.options().dtype(at::kLong))};
    if (candidates.is_cpu()) {
      fused::cpu::select(candidates, rewards, choice, step_index, lost, out);
      return out;
    }
    if (cuda::select(candidates, rewards, choice.temperature, choice.uniforms, step_index, lost, out.latents,
                     out.index))
      return out;
  }
  return composite::select(candidates, rewards, choice, step_index, lost);
}

}  // namespace drm
