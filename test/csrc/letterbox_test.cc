// HPSv2's letterbox against the same arithmetic in double precision, written out here; whole photographs are compared
// with the authors' code in test/parity/scorers/.
#include "scorers/letterbox.h"

#include <algorithm>
#include <cmath>

#include "check.h"

using namespace drm;

namespace {

constexpr double kMean[] = {0.48145466, 0.4578275, 0.40821073}, kDeviation[] = {0.26862954, 0.26130258, 0.27577711};

Bitmap noise(int64_t height, int64_t width) {
  Bitmap b{{}, height, width, 3};
  uint32_t state = 1;
  for (int64_t i = 0; i < height * width * 3; ++i) {
    state = state * 1664525 + 1013904223;
    b.pixels.push_back(static_cast<uint8_t>(state >> 24));
  }
  return b;
}

double cubic(double x, double a) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

using Matrix = std::vector<std::vector<double>>;

/// (to, from) weights of one axis.
Matrix weights(int64_t from, int64_t to, bool antialias) {
  Matrix m(static_cast<size_t>(to), std::vector<double>(static_cast<size_t>(from)));
  const auto scale = static_cast<double>(from) / static_cast<double>(to);
  for (int64_t i = 0; i < to; ++i) {
    auto& row = m[static_cast<size_t>(i)];
    const auto centre = (static_cast<double>(i) + 0.5) * scale;
    if (antialias) {
      const auto stretch = std::max(scale, 1.0);
      double sum = 0;
      for (auto j = std::max<int64_t>(0, static_cast<int64_t>(centre - 2 * stretch + 0.5));
           j < std::min(from, static_cast<int64_t>(centre + 2 * stretch + 0.5)); ++j)
        sum += row[static_cast<size_t>(j)] = cubic((static_cast<double>(j) - centre + 0.5) / stretch, -0.5);
      for (auto& w : row) w /= sum;
    } else {
      const auto first = static_cast<int64_t>(std::floor(centre - 0.5)) - 1;
      for (auto j = first; j < first + 4; ++j)
        row[static_cast<size_t>(std::clamp<int64_t>(j, 0, from - 1))] +=
            cubic(centre - 0.5 - static_cast<double>(j), -0.75);
    }
  }
  return m;
}

std::vector<double> expected(const Bitmap& image, int64_t size, bool antialias) {
  const auto scale = static_cast<double>(size) / static_cast<double>(std::max(image.height, image.width));
  const auto side = [&](int64_t n) { return std::max<int64_t>(1, std::lrint(static_cast<double>(n) * scale)); };
  const auto height = side(image.height), width = side(image.width);
  const auto down = weights(image.height, height, antialias), across = weights(image.width, width, antialias);
  std::vector<double> out;
  for (size_t c = 0; c < 3; ++c)
    for (int64_t y = 0; y < size; ++y)
      for (int64_t x = 0; x < size; ++x) {
        const auto i = y - (size - height) / 2, j = x - (size - width) / 2;
        double value = 0;
        if (i >= 0 && i < height && j >= 0 && j < width)
          for (size_t p = 0; p < static_cast<size_t>(image.height); ++p)
            for (size_t q = 0; q < static_cast<size_t>(image.width); ++q)
              value += down[static_cast<size_t>(i)][p] * across[static_cast<size_t>(j)][q] *
                       image.pixels[(p * static_cast<size_t>(image.width) + q) * 3 + c] / 255.0;
        out.push_back((value - kMean[c]) / kDeviation[c]);
      }
  return out;
}

double difference(const Bitmap& image, int64_t size, bool antialias) {
  const auto got = letterbox(image, size, antialias);
  const auto want = expected(image, size, antialias);
  CHECK_EQ(got.size(), want.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
  return worst;
}

}  // namespace

TEST(wide_tall_small_and_large_images_equal_the_definition) {
  for (const bool antialias : {true, false})
    for (const auto& [height, width] : std::vector<std::pair<int64_t, int64_t>>{
             {23, 40}, {40, 23}, {9, 5}, {5, 9}, {16, 16}, {16, 11}, {11, 16}, {33, 32}, {1, 1}, {1, 20}, {37, 2}}) {
      const auto worst = difference(noise(height, width), 16, antialias);
      if (!(worst < 3e-4))
        test::fail(__FILE__, __LINE__,
                   std::to_string(width) + " x " + std::to_string(height) + (antialias ? ", antialiased" : "") +
                       ": off by " + std::to_string(worst));
    }
}

TEST(both_readings_of_the_reduction_differ) {
  const auto image = noise(40, 40);
  const auto with = letterbox(image, 16, true), without = letterbox(image, 16, false);
  double most = 0;
  for (size_t i = 0; i < with.size(); ++i) most = std::max(most, std::abs(static_cast<double>(with[i] - without[i])));
  CHECK(most > 0.1);
}

TEST(an_image_of_the_squares_size_stays_to_the_bit_and_gets_its_margins) {
  const auto image = noise(13, 16);  // 3 rows too few: one above, two below
  const auto got = letterbox(image, 16, false);
  const auto at = [&](size_t c, size_t y, size_t x) { return got[(c * 16 + y) * 16 + x]; };
  const auto normalised = [](size_t c, double value) { return (value - kMean[c]) / kDeviation[c]; };
  for (size_t c = 0; c < 3; ++c) {
    for (const size_t y : {size_t{0}, size_t{14}, size_t{15}})
      CHECK(std::abs(static_cast<double>(at(c, y, 7)) - normalised(c, 0)) < 1e-6);
    CHECK(std::abs(static_cast<double>(at(c, 1, 7)) - normalised(c, image.pixels[7 * 3 + c] / 255.0)) < 1e-6);
    CHECK(std::abs(static_cast<double>(at(c, 13, 15)) - normalised(c, image.pixels[(12 * 16 + 15) * 3 + c] / 255.0)) <
          1e-6);
  }
}

TEST(values_beyond_black_and_white_stay) {
  Bitmap edge{{}, 8, 8, 3};
  for (int i = 0; i < 8 * 8 * 3; ++i) edge.pixels.push_back(i / 3 % 8 < 4 ? 0 : 255);
  const auto got = letterbox(edge, 32, false);
  const auto [low, high] = std::minmax_element(got.begin(), got.begin() + 32 * 32);
  CHECK(*low < (0 - kMean[0]) / kDeviation[0] - 0.05 && *high > (1 - kMean[0]) / kDeviation[0] + 0.05);
}

TEST(nothing_is_no_image) {
  EXPECT_FAILURE(BadRequest, ({"[letterbox]", "2 x 2 x 3 in 5 bytes"}),
                 letterbox({std::vector<uint8_t>(5), 2, 2, 3}, 16, true));
  EXPECT_FAILURE(BadRequest, ({"0 x 0"}), letterbox({{}, 0, 0, 3}, 16, true));
  EXPECT_FAILURE(BadRequest, ({"x 1 in 4 bytes"}), letterbox({std::vector<uint8_t>(4), 2, 2, 1}, 16, true));
  EXPECT_FAILURE(BadRequest, ({"to become 5000 x 5000"}), letterbox({std::vector<uint8_t>(12), 2, 2, 3}, 5000, true));
}

DRM_TEST_MAIN
