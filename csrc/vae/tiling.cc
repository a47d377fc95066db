// Large images in tiles. Neighbouring tiles overlap; where they do, their weights ramp linearly and sum to one, so a
// seam is a cross-fade. (The result differs a little from one pass: group norms see one tile at a time.)
#include <ATen/ATen.h>

#include "vae/autoencoder.h"

namespace drm {
namespace {

/// Start positions of tiles of `edge` that cover `length`, neighbours sharing at least `overlap`.
std::vector<int64_t> starts(int64_t length, int64_t edge, int64_t overlap) {
  if (length <= edge) return {0};
  const int64_t stride = edge - overlap;
  const int64_t count = (length - overlap + stride - 1) / stride;
  std::vector<int64_t> all;
  for (int64_t i = 0; i < count; ++i) all.push_back(i * (length - edge) / (count - 1));
  return all;
}

/// Weight of each position of a tile along one axis: ramps where a neighbour overlaps, one elsewhere.
Tensor ramp(int64_t size, int64_t overlap, bool before, bool after, const at::TensorOptions& options) {
  auto w = at::ones({size}, options);
  const auto slope = (at::arange(overlap, options) + 0.5) / overlap;
  if (before) w.narrow(0, 0, overlap).mul_(slope);
  if (after) w.narrow(0, size - overlap, overlap).mul_(slope.flip(0));
  return w;
}

/// Applies `run` to tiles of x (cut in steps of `unit`) and blends; out_per_in is the size ratio of output to input.
template <class Run>
Tensor tiled(const Tensor& x, int64_t edge, int64_t overlap, int64_t numerator, int64_t denominator,
             const Control& control, const char* phase, Run run) {
  const auto rows = starts(x.size(2) / denominator, edge, overlap),
             columns = starts(x.size(3) / denominator, edge, overlap);
  const auto height = std::min(edge, x.size(2) / denominator), width = std::min(edge, x.size(3) / denominator);
  Tensor sum, weight;
  int64_t done = 0;
  for (const auto r : rows)
    for (const auto c : columns) {
      control.check();
      const auto y = run(x.narrow(2, r * denominator, height * denominator)
                             .narrow(3, c * denominator, width * denominator)
                             .contiguous())
                         .to(at::kFloat);
      if (!sum.defined()) {
        sum =
            at::zeros({y.size(0), y.size(1), x.size(2) / denominator * numerator, x.size(3) / denominator * numerator},
                      y.options());
        weight = at::zeros({1, 1, sum.size(2), sum.size(3)}, y.options());
      }
      const auto w = ramp(height * numerator, overlap * numerator, r > 0, r != rows.back(), y.options()).unsqueeze(1) *
                     ramp(width * numerator, overlap * numerator, c > 0, c != columns.back(), y.options()).unsqueeze(0);
      sum.narrow(2, r * numerator, height * numerator).narrow(3, c * numerator, width * numerator).add_(y * w);
      weight.narrow(2, r * numerator, height * numerator).narrow(3, c * numerator, width * numerator).add_(w);
      control.report({phase, ++done, static_cast<int64_t>(rows.size() * columns.size()), 0});
    }
  return sum / weight;
}

Tiling checked(Tiling t) {
  if (t.edge < 8)
    throw Failure(Code::BadRequest,
                  "[vae] tile edge: expected at least 8 latent pixels, found " + std::to_string(t.edge));
  if (t.overlap < 1 || t.overlap > t.edge / 2) t.overlap = t.edge / 4;
  return t;
}

}  // namespace

Tensor decode_tiled(const Vae& v, const Tensor& latents, const Tiling& tiling, const Control& control) {
  const auto t = checked(tiling);
  return tiled(latents, t.edge, t.overlap, v.config.factor(), 1, control, "decode",
               [&](const Tensor& tile) { return decode(v, tile); });
}

Tensor encode_moments_tiled(const Vae& v, const Tensor& images, const Tiling& tiling, const Control& control) {
  const auto t = checked(tiling);
  return tiled(images, t.edge, t.overlap, 1, v.config.factor(), control, "encode",
               [&](const Tensor& tile) { return encode_moments(v, tile); });
}

}  // namespace drm
