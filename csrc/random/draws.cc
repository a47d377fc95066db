#include "random/draws.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "random/normal_row.h"

namespace drm {

namespace {

/// Fills rows of n numbers in runs of Philox blocks, four numbers each: `fill(draw, first block, blocks, out)`.
template <class Fill>
at::Tensor draw_rows(Draw draw, const std::vector<int64_t>& samples, at::IntArrayRef shape, at::Device device,
                     Fill fill) {
  std::vector<int64_t> full{static_cast<int64_t>(samples.size())};
  full.insert(full.end(), shape.begin(), shape.end());
  auto out = at::empty(full, at::kFloat);
  const auto n = samples.empty() ? 0 : out.numel() / out.size(0);
  auto* p = out.data_ptr<float>();
  constexpr int64_t kBlocks = 256, kRun = 4 * kBlocks;
  const auto runs = (n + kRun - 1) / kRun;
  at::parallel_for(0, static_cast<int64_t>(samples.size()) * runs, 16, [&](int64_t begin, int64_t end) {
    auto d = draw;
    float whole[kRun];
    for (int64_t i = begin; i < end; ++i) {
      const auto row = i / runs, first = i % runs * kRun, length = std::min(n - first, kRun);
      d.sample = static_cast<uint32_t>(samples[static_cast<size_t>(row)]);
      auto* to = p + row * n + first;
      fill(d, static_cast<uint32_t>(first / 4), (length + 3) / 4, length % 4 ? whole : to);
      if (length % 4) std::copy(whole, whole + length, to);
    }
  });
  return out.to(device);
}

}  // namespace

at::Tensor draw_normal(Draw draw, const std::vector<int64_t>& samples, at::IntArrayRef shape, at::Device device) {
  return draw_rows(draw, samples, shape, device, normal_row);
}

at::Tensor draw_uniform(Draw draw, const std::vector<int64_t>& samples, at::Device device, at::IntArrayRef shape) {
  return draw_rows(draw, samples, shape, device, [](const Draw& d, uint32_t first, int64_t blocks, float* out) {
    for (int64_t i = 0; i < blocks; ++i) {
      const auto block = philox(d, first + static_cast<uint32_t>(i));
      for (int j = 0; j < 4; ++j) out[4 * i + j] = uniform_from(block.word[j]);
    }
  });
}

}  // namespace drm
