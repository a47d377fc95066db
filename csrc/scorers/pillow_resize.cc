#include "scorers/pillow_resize.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "common/failure.h"
#include "common/grain.h"

namespace drm {
namespace {

constexpr int kBits = 22;  // 32 less 8 for the pixel and 2 for sign and overshoot
constexpr int32_t kHalf = 1 << (kBits - 1);

/// Keys' cubic with a = -0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// The input positions that one output position reads, and their weights.
struct Taps {
  int64_t begin;
  std::vector<int32_t> weights;
};

std::vector<Taps> plan(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0), support = 2 * stretch;
  std::vector<Taps> taps(static_cast<size_t>(to));
  std::vector<double> exact;
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto begin = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const auto end = std::min(static_cast<int64_t>(centre + support + 0.5), from);
    exact.clear();
    double sum = 0;
    for (auto j = begin; j < end; ++j) {
      exact.push_back(cubic((static_cast<double>(j) - centre + 0.5) / stretch));
      sum += exact.back();
    }
    auto& t = taps[static_cast<size_t>(i)];
    t.begin = begin;
    for (const double w : exact) {
      const double fixed = w / sum * (1 << kBits);
      t.weights.push_back(static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return taps;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

template <int channels>
void resize_row(const uint8_t* in, uint8_t* out, const std::vector<Taps>& taps) {
  for (const auto& t : taps) {
    int32_t sum[channels];
    std::fill(sum, sum + channels, kHalf);
    const auto* pixel = in + t.begin * channels;
    for (const auto w : t.weights) {
      for (int c = 0; c < channels; ++c) sum[c] += w * pixel[c];
      pixel += channels;
    }
    for (int c = 0; c < channels; ++c) *out++ = to_byte(sum[c]);
  }
}

Bitmap resize_width(const Bitmap& in, int64_t width) {
  Bitmap out{std::vector<uint8_t>(static_cast<size_t>(in.height * width * in.channels)), in.height, width, in.channels};
  const auto taps = plan(in.width, width);
  const auto in_row = in.width * in.channels, out_row = width * in.channels;
  at::parallel_for(0, in.height, std::max<int64_t>(1, kGrain / out_row), [&](int64_t begin, int64_t end) {
    for (auto y = begin; y < end; ++y) {
      const auto* from = in.pixels.data() + y * in_row;
      auto* to = out.pixels.data() + y * out_row;
      in.channels == 3 ? resize_row<3>(from, to, taps) : resize_row<1>(from, to, taps);
    }
  });
  return out;
}

Bitmap resize_height(const Bitmap& in, int64_t height) {
  Bitmap out{std::vector<uint8_t>(static_cast<size_t>(height * in.width * in.channels)), height, in.width, in.channels};
  const auto taps = plan(in.height, height);
  const auto row = in.width * in.channels;
  at::parallel_for(0, height, std::max<int64_t>(1, kGrain / row), [&](int64_t begin, int64_t end) {
    std::vector<int32_t> sums(static_cast<size_t>(row));
    for (auto y = begin; y < end; ++y) {
      std::fill(sums.begin(), sums.end(), kHalf);
      const auto& t = taps[static_cast<size_t>(y)];
      const auto* from = in.pixels.data() + t.begin * row;
      for (const auto w : t.weights) {
        for (int64_t x = 0; x < row; ++x) sums[static_cast<size_t>(x)] += w * from[x];
        from += row;
      }
      std::transform(sums.begin(), sums.end(), out.pixels.data() + y * row, to_byte);
    }
  });
  return out;
}

int64_t offset(int64_t surplus, CropRule rule) {
  const auto half = surplus / 2;
  const bool up = rule == CropRule::Torchvision && surplus % 2 && half % 2;  // .5 goes to the even neighbour
  return half + (up ? 1 : 0);
}

}  // namespace

Bitmap pillow_bicubic(const Bitmap& image, int64_t height, int64_t width) {
  constexpr int64_t kLargest = 1 << 16;
  const auto fits = [](int64_t n) { return n >= 1 && n <= kLargest; };
  if (!fits(image.height) || !fits(image.width) || !fits(height) || !fits(width) ||
      (image.channels != 1 && image.channels != 3) ||
      static_cast<int64_t>(image.pixels.size()) != image.height * image.width * image.channels)
    throw Failure(Code::BadRequest,
                  "[resize] expected images of 1 to 65536 pixels a side with 1 or 3 channels, found " +
                      std::to_string(image.width) + " x " + std::to_string(image.height) + " x " +
                      std::to_string(image.channels) + " in " + std::to_string(image.pixels.size()) +
                      " bytes, to become " + std::to_string(width) + " x " + std::to_string(height));
  if (width == image.width) return height == image.height ? image : resize_height(image, height);
  auto narrowed = resize_width(image, width);
  return height == image.height ? narrowed : resize_height(narrowed, height);
}

Bitmap pillow_square(const Bitmap& image, int64_t size, CropRule rule) {
  const auto shorter = std::max<int64_t>(1, std::min(image.width, image.height));
  const auto side = [&](int64_t n) { return n == shorter ? size : size * n / shorter; };
  auto whole = pillow_bicubic(image, side(image.height), side(image.width));
  if (whole.height == size && whole.width == size) return whole;
  const auto row = size * whole.channels;
  Bitmap out{std::vector<uint8_t>(static_cast<size_t>(size * row)), size, size, whole.channels};
  const auto top = offset(whole.height - size, rule), left = offset(whole.width - size, rule);
  for (int64_t y = 0; y < size; ++y)
    std::copy_n(whole.pixels.data() + ((top + y) * whole.width + left) * whole.channels, row,
                out.pixels.data() + y * row);
  return out;
}

}  // namespace drm
