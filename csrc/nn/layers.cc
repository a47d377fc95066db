#include "nn/layers.h"

#include <ATen/ATen.h>

#include "nn/autocast.h"
#include "nn/fused.h"
#include "nn/linear_at_once.h"
#include "nn/widened_linear.h"

namespace drm {
namespace {

Tensor planned(at::IntArrayRef shape) {
  return at::empty(shape, at::TensorOptions().device(at::kMeta).dtype(at::kFloat));
}

}  // namespace

Linear make_linear(int64_t in, int64_t out, bool bias) {
  return {planned({out, in}), bias ? planned({out}) : Tensor(), {}};
}
Conv2d make_conv(int64_t in, int64_t out, int64_t kernel, bool bias) {
  return {planned({out, in, kernel, kernel}), bias ? planned({out}) : Tensor()};
}
Norm make_norm(int64_t features, bool bias) { return {planned({features}), bias ? planned({features}) : Tensor()}; }
Table make_table(int64_t rows, int64_t features) { return {planned({rows, features})}; }
Parameter make_parameter(at::IntArrayRef shape) { return {planned(shape)}; }
Buffer make_buffer(at::IntArrayRef shape) { return {planned(shape)}; }

Tensor linear(const Linear& l, const Tensor& x) {
  if (const auto y = linear_with_folded_adapters({&l}, x)) return *y;
  // A batch of slices would become a batched product and an addition of the bias: on a GPU a copy costs less.
  const auto y = needs_widening(l.weight, x) ? linear_widened(l.weight, l.bias, x)
                                             : at::linear(x.is_cuda() ? x.contiguous() : x, l.weight, l.bias);
  Tensor sum;
  for (const auto& adapter : l.lora) {
    if (!adapter.enabled) continue;
    // Adapters run, and add up, in their own fp32, whatever the base weights are in.
    const auto delta = adapter.scale * at::linear(at::linear(x.to(adapter.a.scalar_type()), adapter.a), adapter.b);
    sum = sum.defined() ? sum + delta : delta;
  }
  return sum.defined() ? y + sum.to(y.scalar_type()) : y;
}

Tensor linear_gelu(const Linear& l, const Tensor& x) {
  const bool one_product = x.is_cuda() && !fused::in_training() && l.lora.empty() && l.bias.defined() &&
                           x.scalar_type() == l.weight.scalar_type() && !Autocast::current(at::kCUDA).enabled;
  if (!one_product) return at::gelu(linear(l, x), "tanh");
  auto shape = x.sizes().vec();
  shape.back() = l.weight.size(0);
  return at::_addmm_activation(l.bias, x.reshape({-1, x.size(-1)}), l.weight.t(), 1, 1, /*use_gelu=*/true).view(shape);
}

Tensor conv2d(const Conv2d& c, const Tensor& x, int64_t stride, int64_t padding) {
  return at::conv2d(x, c.weight, c.bias, at::IntArrayRef{stride, stride}, at::IntArrayRef{padding, padding});
}

Tensor layer_norm(const Norm& n, const Tensor& x, double eps) {
  return at::layer_norm(x, {x.size(-1)}, n.weight, n.bias, eps);
}

Tensor rms_norm(const Norm& n, const Tensor& x, double eps) {
  const auto f = x.to(at::kFloat);
  return n.weight * (f * at::rsqrt(f.square().mean(-1, true) + eps)).to(n.weight.scalar_type());
}

Tensor look_up(const Table& t, const Tensor& ids) { return at::embedding(t.weight, ids); }

}  // namespace drm
