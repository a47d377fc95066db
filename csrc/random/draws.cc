#include "random/draws.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace drm {

at::Tensor draw_normal(Draw draw, const std::vector<int64_t>& samples, at::IntArrayRef shape, at::Device device) {
  std::vector<int64_t> full{static_cast<int64_t>(samples.size())};
  full.insert(full.end(), shape.begin(), shape.end());
  auto out = at::empty(full, at::kFloat);
  const auto n = samples.empty() ? 0 : out.numel() / out.size(0);
  auto* p = out.data_ptr<float>();
  const auto blocks = (n + 3) / 4;
  at::parallel_for(0, static_cast<int64_t>(samples.size()) * blocks, 4096, [&](int64_t begin, int64_t end) {
    auto d = draw;
    for (int64_t i = begin; i < end; ++i) {
      const auto row = i / blocks, block = i % blocks;
      d.sample = static_cast<uint32_t>(samples[static_cast<size_t>(row)]);
      float values[4];
      normals(d, static_cast<uint32_t>(block), values);
      for (int64_t j = 0; j < std::min<int64_t>(4, n - 4 * block); ++j) p[row * n + 4 * block + j] = values[j];
    }
  });
  return out.to(device);
}

at::Tensor draw_uniform(Draw draw, const std::vector<int64_t>& samples, at::Device device) {
  auto out = at::empty({static_cast<int64_t>(samples.size())}, at::kFloat);
  for (size_t i = 0; i < samples.size(); ++i) {
    draw.sample = static_cast<uint32_t>(samples[i]);
    out.data_ptr<float>()[i] = uniform_from(philox(draw, 0).word[0]);
  }
  return out.to(device);
}

}  // namespace drm
