#include "flow/branch.h"

#include <ATen/ATen.h>

#include "common/failure.h"
#include "cuda/kernels.h"
#include "nn/gradients.h"
#include "random/draws.h"

namespace drm {

using at::Tensor;

namespace {

bool supported_velocity(const Tensor& x, const Tensor& v) {
  return !v.defined() || ((v.scalar_type() == at::kFloat || v.scalar_type() == at::kBFloat16) && v.is_contiguous() &&
                          v.sizes() == x.sizes() && v.device() == x.device());
}

/// Both halves in one dtype, everything dense and on one device; our kernels have no gradients.
bool fits(const Tensor& x, const GuidedVelocity& v) {
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

}  // namespace

Tensor branch_keys(const std::vector<uint64_t>& seeds, const std::vector<int64_t>& samples, at::Device device) {
  auto keys = at::empty({static_cast<int64_t>(seeds.size()), 2}, at::kLong);
  for (size_t i = 0; i < seeds.size(); ++i) {
    keys.data_ptr<int64_t>()[2 * i] = static_cast<int64_t>(seeds[i]);
    keys.data_ptr<int64_t>()[2 * i + 1] = samples.at(i);
  }
  return keys.to(device);
}

namespace composite {

Tensor branch(const Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, const Tensor& noise) {
  return step_next(step_mean(x, guided(velocity), step), noise, step).transpose(0, 1).contiguous();
}

Tensor branch(const Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, const Tensor& keys,
              int64_t step_index, int64_t k) {
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

}  // namespace composite

Tensor branch(const Tensor& x, const GuidedVelocity& velocity, const SdeStep& step, const Tensor& keys,
              int64_t step_index, int64_t k) {
  check(x, step, keys, k);
  if (velocity.conditional.scalar_type() == at::kHalf) {  // the kernels read fp32 and bf16; nothing is lost
    const auto wide = [](const Tensor& v) { return v.defined() ? v.to(at::kFloat) : v; };
    return branch(x, {wide(velocity.unconditional), wide(velocity.conditional), velocity.scale}, step, keys, step_index,
                  k);
  }
  if (fits(x, velocity)) {
    auto shape = x.sizes().vec();
    shape.insert(shape.begin() + 1, k);
    auto out = at::empty(shape, x.options());
    if (x.is_cpu()) {
      fused::cpu::branch(x, velocity, step, keys, step_index, out);
      return out;
    }
    const cuda::BranchCoefficients by{velocity.scale, step.cx, step.cv, step.noise_std};
    if (cuda::branch(x, velocity.unconditional, velocity.conditional, by, keys, step_index, out)) return out;
  }
  return composite::branch(x, velocity, step, keys, step_index, k);
}

}  // namespace drm
