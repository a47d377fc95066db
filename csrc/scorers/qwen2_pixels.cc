#include "scorers/qwen2_pixels.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "common/failure.h"

namespace drm {
namespace {

constexpr double kLargestAspect = 200;

}  // namespace

PatchGrid qwen2_grid(int64_t height, int64_t width, const Qwen2Pixels& rule) {
  const auto shorter = std::min(height, width), longer = std::max(height, width);
  if (shorter < 1 || longer > (1 << 16) || static_cast<double>(longer) > kLargestAspect * static_cast<double>(shorter))
    throw Failure(Code::BadRequest,
                  "[qwen2-vl] expected an image of 1 to 65536 pixels a side whose longer side is at "
                  "most 200 times the shorter, found " +
                      std::to_string(width) + " x " + std::to_string(height) + "; crop it, or leave it out");
  const auto block = static_cast<double>(rule.block());
  const auto h = static_cast<double>(height), w = static_cast<double>(width);
  const auto blocks = [&](double n) { return std::max<int64_t>(1, static_cast<int64_t>(n)); };
  // nearbyint() rounds half to even, as the reference's language does.
  auto rows = blocks(std::nearbyint(h / block)), columns = blocks(std::nearbyint(w / block));
  const auto pixels = rows * columns * rule.block() * rule.block();
  if (pixels > rule.max_pixels) {
    const auto shrink = std::sqrt(h * w / static_cast<double>(rule.max_pixels));
    rows = blocks(std::floor(h / shrink / block));
    columns = blocks(std::floor(w / shrink / block));
  } else if (pixels < rule.min_pixels) {
    const auto grow = std::sqrt(static_cast<double>(rule.min_pixels) / (h * w));
    rows = blocks(std::ceil(h * grow / block));
    columns = blocks(std::ceil(w * grow / block));
  }
  return {rows * rule.merge, columns * rule.merge};
}

Bitmap qwen2_resized(const Bitmap& image, const Qwen2Pixels& rule) {
  const auto grid = qwen2_grid(image.height, image.width, rule);
  return pillow_bicubic(image, grid.rows * rule.patch, grid.columns * rule.patch);
}

at::Tensor qwen2_patches(const at::Tensor& pixels, const Qwen2Pixels& rule) {
  const auto channels = pixels.size(1), p = rule.patch, m = rule.merge;
  const auto down = pixels.size(2) / rule.block(), across = pixels.size(3) / rule.block();
  const auto cut = pixels.view({channels, down, m, p, across, m, p}).permute({1, 4, 2, 5, 0, 3, 6});
  const auto frames = cut.unsqueeze(5).expand({down, across, m, m, channels, rule.frames, p, p});
  return frames.reshape({down * across * m * m, channels * rule.frames * p * p});
}

}  // namespace drm
