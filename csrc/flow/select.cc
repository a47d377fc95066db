#include "flow/select.h"

#include <ATen/ATen.h>

#include <limits>

#include "common/failure.h"
#include "cuda/kernels.h"
#include "nn/gradients.h"

namespace drm {

using at::Tensor;

namespace composite {

Selected select(const Tensor& candidates, const Tensor& rewards, const Choice& choice, int64_t step_index,
                Tensor& unscored) {
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
  const auto none = valid.any(1).logical_not() & unscored.lt(0);
  unscored.copy_(at::where(none, step_index, unscored));
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

Selected select(const Tensor& candidates, const Tensor& rewards, const Choice& choice, int64_t step_index,
                Tensor& unscored) {
  if (rewards.dim() != 2 || rewards.size(0) != candidates.size(0) || rewards.size(1) != candidates.size(1) ||
      rewards.size(1) < 1)
    throw Failure(Code::Internal, "[select] expected a reward for each of " + std::to_string(candidates.size(0)) +
                                      " x " + std::to_string(candidates.size(1)) + " candidates");
  const auto plain = [&](const Tensor& t) { return t.scalar_type() == at::kFloat && t.is_contiguous(); };
  const auto beside = [&](const Tensor& t) { return !t.defined() || t.device() == candidates.device(); };
  if ((candidates.is_cpu() || candidates.is_cuda()) && plain(candidates) && plain(rewards) && beside(rewards) &&
      beside(choice.uniforms) && beside(unscored) && !wants_gradients({&candidates, &rewards})) {
    auto shape = candidates.sizes().vec();
    shape.erase(shape.begin() + 1);
    Selected out{at::empty(shape, candidates.options()),
                 at::empty({candidates.size(0)}, candidates.options().dtype(at::kLong))};
    if (candidates.is_cpu()) {
      fused::cpu::select(candidates, rewards, choice, step_index, unscored, out);
      return out;
    }
    if (cuda::select(candidates, rewards, choice.temperature, choice.uniforms, step_index, unscored, out.latents,
                     out.index))
      return out;
  }
  return composite::select(candidates, rewards, choice, step_index, unscored);
}

}  // namespace drm
