#include "random/draws.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace drm {

namespace {

/// Fills rows of n numbers four at a time: `block(draw, index, out)` gives those of one Philox block.
template <class Block>
at::Tensor draw_rows(Draw draw, const std::vector<int64_t>& samples, at::IntArrayRef shape, at::Device device,
                     Block block) {
  std::vector<int64_t> full{static_cast<int64_t>(samples.size())};
  full.insert(full.end(), shape.begin(), shape.end());
  auto out = at::empty(full, at::kFloat);
  const auto n = samples.empty() ? 0 : out.numel() / out.size(0);
  auto* p = out.data_ptr<float>();
  const auto blocks = (n + 3) / 4;
  at::parallel_for(0, static_cast<int64_t>(samples.size()) * blocks, 4096, [&](int64_t begin, int64_t end) {
    auto d = draw;
    for (int64_t i = begin; i < end; ++i) {
      const auto row = i / blocks, index = i % blocks;
      d.sample = static_cast<uint32_t>(samples[static_cast<size_t>(row)]);
      float values[4];
      block(d, static_cast<uint32_t>(index), values);
      for (int64_t j = 0; j < std::min<int64_t>(4, n - 4 * index); ++j) p[row * n + 4 * index + j] = values[j];
    }
  });
  return out.to(device);
}

}  // namespace

at::Tensor draw_normal(Draw draw, const std::vector<int64_t>& samples, at::IntArrayRef shape, at::Device device) {
  return draw_rows(draw, samples, shape, device,
                   [](const Draw& d, uint32_t index, float* out) { normals(d, index, out); });
}

at::Tensor draw_uniform(Draw draw, const std::vector<int64_t>& samples, at::Device device, at::IntArrayRef shape) {
  return draw_rows(draw, samples, shape, device, [](const Draw& d, uint32_t index, float* out) {
    const auto block = philox(d, index);
    for (int j = 0; j < 4; ++j) out[j] = uniform_from(block.word[j]);
  });
}

}  // namespace drm
