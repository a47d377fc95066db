#include "nn/fused.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "cuda/kernels.h"
#include "nn/autocast.h"
#include "nn/gradients.h"

namespace drm::fused {

using at::Tensor;

namespace {

using Tensors = std::initializer_list<const Tensor*>;

bool supported(at::ScalarType t) { return t == at::kFloat || t == at::kBFloat16; }
/// Our CPU kernels read fp16, too.
bool readable(const Tensor& t) { return supported(t.scalar_type()) || (t.is_cpu() && t.scalar_type() == at::kHalf); }

thread_local bool as_in_training = false;

bool wants_gradients(Tensors tensors) { return as_in_training || drm::wants_gradients(tensors); }

/// x is dense, its companions are on its device and their last axis is dense; our CUDA kernels have no gradients and
/// want one dtype for all.
bool fits(const Tensor& x, Tensors others) {
  if (!readable(x) || !x.is_contiguous() || !(x.is_cpu() || x.is_cuda())) return false;
  bool gradients = wants_gradients({&x});
  for (const auto* t : others) {
    if (!readable(*t) || t->device() != x.device() || t->stride(-1) != 1) return false;
    if (x.is_cuda() && t->scalar_type() != x.scalar_type()) return false;
    gradients = gradients || wants_gradients({t});
  }
  return x.is_cpu() || !gradients;
}

at::ScalarType promoted(Tensors tensors) {
  auto dtype = (*tensors.begin())->scalar_type();
  for (const auto* t : tensors)
    if (t->scalar_type() != dtype) dtype = at::kFloat;
  return dtype;
}

/// Of a result that only matrix products read: under autocast they would round it to autocast's dtype themselves, and
/// beside an fp16 model's fp32 streams they take no other than `weights`, that of the layers' results.
at::ScalarType product_input(Tensors tensors, at::ScalarType weights) {
  const auto autocast = Autocast::current(at::kCPU);
  return autocast.enabled ? autocast.dtype : weights == at::kHalf ? weights : promoted(tensors);
}

}  // namespace

AsInTraining::AsInTraining() : before_(as_in_training) { as_in_training = true; }
AsInTraining::~AsInTraining() { as_in_training = before_; }

bool in_training() { return as_in_training || at::GradMode::is_enabled(); }

std::optional<Tensor> modulated_norm(const Tensor& x, const Tensor& shift, const Tensor& scale) {
  if (x.dim() != 3 || shift.scalar_type() != scale.scalar_type() || !fits(x, {&shift, &scale})) return std::nullopt;
  if (x.is_cuda()) {
    auto out = at::empty_like(x);
    return cuda::modulated_norm(x, shift, scale, out) ? std::optional(out) : std::nullopt;
  }
  const auto dtype = product_input({&x, &shift}, shift.scalar_type());
  if (wants_gradients({&x, &shift, &scale})) return with_gradient::modulated_norm(x, shift, scale, dtype);
  auto out = at::empty(x.sizes(), x.options().dtype(dtype));
  cpu::modulated_norm(x, shift, scale, out);
  return out;
}

std::optional<Tensor> gated_add(const Tensor& x, const Tensor& gate, const Tensor& y) {
  if (x.dim() != 3 || !fits(x, {&gate, &y}) || !y.is_contiguous()) return std::nullopt;
  if (x.is_cuda()) {
    auto out = at::empty_like(x);
    return cuda::gated_add(x, gate, y, out) ? std::optional(out) : std::nullopt;
  }
  const auto dtype = promoted({&x, &gate, &y});
  if (wants_gradients({&x, &gate, &y})) return with_gradient::gated_add(x, gate, y, dtype);
  auto out = at::empty(x.sizes(), x.options().dtype(dtype));
  cpu::gated_add(x, gate, y, out);
  return out;
}

std::optional<Tensor> qk_norm(const Tensor& x_BHLK, const Tensor& weight) {
  if (wants_gradients({&x_BHLK, &weight}) || x_BHLK.dim() != 4) return std::nullopt;
  const auto x = x_BHLK.transpose(1, 2);
  if (!fits(x, {&weight})) return std::nullopt;
  if (x.is_cuda()) {
    auto out = at::empty_like(x);
    return cuda::qk_norm(x, weight, out) ? std::optional(out.transpose(1, 2)) : std::nullopt;
  }
  auto out = at::empty(x.sizes(), x.options().dtype(product_input({&x, &weight}, weight.scalar_type())));
  cpu::qk_norm(x, weight, out);
  return out.transpose(1, 2);
}

std::optional<std::array<Tensor, 3>> joint_heads(const std::vector<StreamHeads>& streams, int64_t heads) {
  const auto& first = streams.front();
  if (!first.k.is_cuda() || !cuda::compiled()) return std::nullopt;
  int64_t tokens = 0, asking = 0;
  for (const auto& s : streams) {
    for (const auto* t : {&s.q, &s.k, &s.v, &s.norm_q, &s.norm_k}) {
      const bool norm = t == &s.norm_q || t == &s.norm_k, of_queries = t == &s.q || t == &s.norm_q;
      if (of_queries && !s.q.defined()) continue;
      if (!t->defined() || t->scalar_type() != first.k.scalar_type() || !supported(t->scalar_type()) ||
          wants_gradients({t}) || (norm ? !t->is_contiguous() : t->dim() != 3 || t->stride(2) != 1))
        return std::nullopt;
      // Rows at one distance through all of the batch.
      if (!norm && t->size(0) > 1 && t->stride(0) != t->size(1) * t->stride(1)) return std::nullopt;
    }
    tokens += s.k.size(1);
    asking += s.q.defined() ? s.q.size(1) : 0;
  }
  const auto batch = first.k.size(0), d = first.k.size(2);
  const auto q = at::empty({batch, asking, d}, first.k.options()), k = at::empty({batch, tokens, d}, first.k.options());
  // The values of one stream alone are in place already.
  const auto v = streams.size() == 1 ? first.v : at::empty({batch, tokens, d}, first.k.options());
  int64_t offset = 0;
  for (const auto& s : streams) {
    std::vector<cuda::HeadsPart> parts{{s.k, s.norm_k, k, offset}};
    if (s.q.defined()) parts.push_back({s.q, s.norm_q, q, offset});
    if (streams.size() > 1) parts.push_back({s.v, {}, v, offset});
    if (!cuda::joint_heads(parts, heads)) return std::nullopt;
    offset += s.k.size(1);
  }
  const auto split = [&](const Tensor& t) { return t.view({batch, -1, heads, d / heads}).transpose(1, 2); };
  return std::array{split(q), split(k), split(v)};
}

std::optional<std::array<Tensor, 3>> normed_heads(const std::vector<HeadsInput>& streams, int64_t heads,
                                                  double factor) {
  bool gradients = false;
  std::optional<at::ScalarType> dtype;
  for (const auto& s : streams) {
    if (!s.qkv.is_cpu() || s.qkv.dim() != 3 || !fits(s.qkv, {&s.norm_q, &s.norm_k})) return std::nullopt;
    gradients = gradients || wants_gradients({&s.qkv, &s.norm_q, &s.norm_k});
    const auto own = product_input({&s.qkv, &s.norm_q, &s.norm_k}, s.norm_q.scalar_type());
    dtype = dtype.value_or(own) == own ? own : at::kFloat;
  }
  if (!gradients) return std::nullopt;
  return with_gradient::normed_heads(streams, heads, factor, *dtype);
}

}  // namespace drm::fused
