#include "scorers/cmmd.h"

#include <ATen/ATen.h>

#include "common/failure.h"

namespace drm {
namespace {

constexpr double kGamma = 1.0 / (2 * 10.0 * 10.0), kScale = 1000;
constexpr int64_t kRows = 1024;  // of the kernel matrix at a time

at::Tensor tensor(const Features& f) {
  return at::from_blob(const_cast<float*>(f.values.data()), {f.rows, f.width}, at::kFloat).to(at::kDouble);
}

/// Sum of expm1 of the kernel's exponent over all pairs. k - 1 instead of k: the ones cancel in the end.
double kernel_sum(const at::Tensor& a, const at::Tensor& b) {
  const auto squares = b.square().sum(1).unsqueeze(0);
  double sum = 0;
  for (const auto& rows : a.split(kRows)) {
    const auto distance = (rows.square().sum(1, true) + squares - 2 * rows.matmul(b.t())).clamp_min(0);
    sum += at::expm1(-kGamma * distance).sum().item<double>();
  }
  return sum;
}

}  // namespace

Cmmd cmmd(const Features& a, const Features& b) {
  const auto whole = [](const Features& f) { return static_cast<int64_t>(f.values.size()) == f.rows * f.width; };
  if (a.rows < 2 || b.rows < 2 || a.width != b.width || a.width < 1 || !whole(a) || !whole(b))
    throw Failure(Code::BadRequest, "[cmmd] expected two sets of at least 2 features of one width, found " +
                                        std::to_string(a.rows) + " of " + std::to_string(a.width) + " and " +
                                        std::to_string(b.rows) + " of " + std::to_string(b.width));
  const auto x = tensor(a), y = tensor(b);
  const auto xx = kernel_sum(x, x), yy = kernel_sum(y, y), xy = kernel_sum(x, y);
  const auto n = static_cast<double>(a.rows), m = static_cast<double>(b.rows);
  const auto cross = 2 * xy / (n * m);
  // On the diagonal k - 1 is zero, so that leaving it out changes only the divisor.
  return {kScale * (xx / (n * n) + yy / (m * m) - cross), kScale * (xx / (n * (n - 1)) + yy / (m * (m - 1)) - cross)};
}

}  // namespace drm
