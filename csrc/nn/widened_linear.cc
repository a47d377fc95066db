#include "nn/widened_linear.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "nn/autocast.h"
#include "nn/gradients.h"

namespace drm {

using at::Tensor;

namespace {

/// Numbers that are wide at once. A product packs all of x again for each block of rows, which costs some percent of
/// the block's own work from here on.
constexpr int64_t kAtOnce = 1 << 24;

}  // namespace

bool needs_widening(const Tensor& weight, const Tensor& x) {
  return x.scalar_type() == at::kFloat && at::isReducedFloatingType(weight.scalar_type()) &&
         !Autocast::current(x.device().type()).enabled;
}

Tensor linear_widened(const Tensor& weight, const Tensor& bias, const Tensor& x) {
  const auto b = bias.defined() ? bias.to(at::kFloat) : bias;
  if (weight.numel() <= kAtOnce || wants_gradients({&x, &weight, &bias}))
    return at::linear(x, weight.to(at::kFloat), b);
  const auto out = weight.size(0), in = weight.size(1), rows_at_once = std::max<int64_t>(1, kAtOnce / in);
  const auto rows = x.reshape({-1, in});
  auto y = at::empty({rows.size(0), out}, x.options());
  auto wide = at::empty({rows_at_once, in}, x.options());
  for (int64_t begin = 0; begin < out; begin += rows_at_once) {
    const auto count = std::min(rows_at_once, out - begin);
    auto block = wide.narrow(0, 0, count), part = y.narrow(1, begin, count);
    block.copy_(weight.narrow(0, begin, count));
    if (b.defined())
      at::addmm_out(part, b.narrow(0, begin, count), rows, block.t());
    else
      at::mm_out(part, rows, block.t());
  }
  auto shape = x.sizes().vec();
  shape.back() = out;
  return y.view(shape);
}

}  // namespace drm
