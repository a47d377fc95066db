#include "scorers/letterbox.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "common/failure.h"
#include "scorers/clip_vision.h"

namespace drm {
namespace {

at::Tensor resized(const at::Tensor& x, int64_t height, int64_t width, bool antialias) {
  if (!antialias) return at::upsample_bicubic2d(x, {height, width}, false);
  // libtorch 2.13 gives a column of one pixel's width the same number all along it, so the image lies on its side.
  if (width == 1) return at::_upsample_bicubic2d_aa(x.transpose(2, 3).contiguous(), {1, height}, false).transpose(2, 3);
  return at::_upsample_bicubic2d_aa(x, {height, width}, false);
}

}  // namespace

std::vector<float> letterbox(const Bitmap& image, int64_t size, bool antialias) {
  constexpr int64_t kLargest = 1 << 16, kLargestSquare = 4096;
  const auto fits = [](int64_t n) { return n >= 1 && n <= kLargest; };
  if (!fits(image.height) || !fits(image.width) || size < 2 || size > kLargestSquare || image.channels != 3 ||
      static_cast<int64_t>(image.pixels.size()) != image.height * image.width * image.channels)
    throw Failure(Code::BadRequest,
                  "[letterbox] expected RGB images of 1 to 65536 pixels a side and a square of 2 to 4096, found " +
                      std::to_string(image.width) + " x " + std::to_string(image.height) + " x " +
                      std::to_string(image.channels) + " in " + std::to_string(image.pixels.size()) +
                      " bytes, to become " + std::to_string(size) + " x " + std::to_string(size));
  const double scale = static_cast<double>(size) / static_cast<double>(std::max(image.height, image.width));
  const auto side = [&](int64_t n) {
    return std::clamp(static_cast<int64_t>(std::nearbyint(static_cast<double>(n) * scale)), int64_t{1}, size);
  };
  const auto height = side(image.height), width = side(image.width);
  const auto bytes =
      at::from_blob(const_cast<uint8_t*>(image.pixels.data()), {1, image.height, image.width, 3}, at::kByte);
  auto x = bytes.permute({0, 3, 1, 2}).to(at::kFloat, false, false, at::MemoryFormat::Contiguous) / 255.0;
  if (height != image.height || width != image.width) x = resized(x, height, width, antialias);
  std::vector<float> out(static_cast<size_t>(3 * size * size));
  auto square = at::from_blob(out.data(), {3, size, size}, at::kFloat);
  square.narrow(1, (size - height) / 2, height).narrow(2, (size - width) / 2, width).copy_(x[0]);
  const auto channels = [](const std::array<double, 3>& rgb) {
    return at::tensor(at::ArrayRef<double>(rgb), at::kFloat).view({3, 1, 1});
  };
  square.sub_(channels(kClipMean)).div_(channels(kClipDeviation));
  return out;
}

}  // namespace drm
