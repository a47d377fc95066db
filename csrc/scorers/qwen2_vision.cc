#include "scorers/qwen2_vision.h"

#include <ATen/ATen.h>

#include "nn/attention.h"
#include "nn/rotary.h"

namespace drm {
namespace {

constexpr double kEps = 1e-6;
constexpr double kRotaryBase = 10'000;

/// Layer norm of the fp32 sums, cast to the weight's dtype.
Tensor normed(const Norm& n, const Tensor& x) {
  return at::layer_norm(x, {x.size(-1)}, n.weight.to(at::kFloat), n.bias.to(at::kFloat), kEps)
      .to(n.weight.scalar_type());
}

Tensor quick_gelu(const Tensor& x) { return x * at::sigmoid(1.702 * x); }

/// Half of a head's pairs turn with the patch's row, half with its column.
Rotary rotary_in_two_dimensions(const Qwen2VisionConfig& c, const std::vector<PatchGrid>& grids, at::Device device) {
  const auto frequencies = rotary_frequencies(c.embed_dim / c.num_heads / 2, kRotaryBase);
  const auto m = c.spatial_merge_size;
  std::vector<Tensor> angles;
  for (const auto& g : grids) {
    const auto down = g.rows / m, across = g.columns / m;
    const auto along = [&](int64_t n, at::IntArrayRef shape) {
      const auto position = at::arange(n, frequencies.options()).view(shape).expand({down, across, m, m}).reshape(-1);
      return at::outer(position, frequencies);
    };
    angles.push_back(at::cat({along(g.rows, {down, 1, m, 1}), along(g.columns, {1, across, 1, m})}, -1));
  }
  return rotary_of(at::cat(angles), device);
}

Tensor vision_block(const Qwen2VisionBlock& b, const Qwen2VisionConfig& c, const Tensor& x, const Rotary& rotary,
                    const std::vector<int64_t>& patches) {
  const auto qkv = linear(b.qkv, normed(b.norm1, x)).unsqueeze(0).chunk(3, -1);
  const auto images = [&](const Tensor& heads) { return heads.split_with_sizes(patches, 2); };
  const auto q = images(rotate(split_heads(qkv[0], c.num_heads), rotary));
  const auto k = images(rotate(split_heads(qkv[1], c.num_heads), rotary));
  const auto v = images(split_heads(qkv[2], c.num_heads));
  std::vector<Tensor> attended;
  for (size_t i = 0; i < q.size(); ++i) attended.push_back(attend(q[i], k[i], v[i]));
  const auto y = x + linear(b.proj, merge_heads(at::cat(attended, 2)).squeeze(0));
  return y + linear(b.fc2, quick_gelu(linear(b.fc1, normed(b.norm2, y))));
}

}  // namespace

Qwen2VisionConfig read_qwen2_vision_config(const ConfigReader& r) {
  r.expect("hidden_act", "quick_gelu");
  Qwen2VisionConfig c;
  c.depth = r.integer("depth", 32);
  c.embed_dim = r.integer("embed_dim", 1280);
  c.num_heads = r.integer("num_heads", 16);
  c.in_channels = r.integer("in_channels", 3);
  c.patch_size = r.integer("patch_size", 14);
  c.spatial_merge_size = r.integer("spatial_merge_size", 2);
  c.temporal_patch_size = r.integer("temporal_patch_size", 2);
  c.hidden_size = r.integer("hidden_size");
  const auto ratio = r.number("mlp_ratio", 4);
  const auto within = [](int64_t n, int64_t most) { return n >= 1 && n <= most; };
  if (!within(c.depth, 1000) || !within(c.embed_dim, 65536) || !within(c.num_heads, 65536) ||
      c.embed_dim % (4 * c.num_heads) || c.in_channels != 3 || !within(c.patch_size, 1024) ||
      !within(c.spatial_merge_size, 64) || !within(c.temporal_patch_size, 64) || !within(c.hidden_size, 65536) ||
      !(ratio > 0 && ratio <= 64))
    throw Failure(Code::BadConfig, "[config] " + r.file() +
                                       ": expected positive sizes, 3 channels, and heads whose width is a multiple of "
                                       "4; compare with the model's original config.json");
  c.mlp_width = static_cast<int64_t>(static_cast<double>(c.embed_dim) * ratio);
  return c;
}

Qwen2Vision make_qwen2_vision(const Qwen2VisionConfig& c) {
  const auto d = c.embed_dim, block = d * c.block_patches();
  Qwen2Vision v;
  v.config = c;
  v.patch = make_parameter({d, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size});
  for (int64_t i = 0; i < c.depth; ++i)
    v.blocks.push_back({make_norm(d), make_norm(d), make_linear(d, 3 * d), make_linear(d, d),
                        make_linear(d, c.mlp_width), make_linear(c.mlp_width, d)});
  v.merger_norm = make_norm(d);
  v.merger_fc1 = make_linear(block, block);
  v.merger_fc2 = make_linear(block, c.hidden_size);
  return v;
}

Tensor qwen2_vision_forward(const Qwen2Vision& v, const Tensor& patches, const std::vector<PatchGrid>& grids,
                            const Observer* observer) {
  const auto& c = v.config;
  std::vector<int64_t> counts;
  for (const auto& g : grids) counts.push_back(g.patches());
  const auto rotary = rotary_in_two_dimensions(c, grids, patches.device());
  const Linear embed{v.patch.value.flatten(1), {}, {}};
  auto x = linear(embed, patches.to(v.merger_norm.weight.scalar_type())).to(at::kFloat);
  for (size_t i = 0; i < v.blocks.size(); ++i) {
    x = vision_block(v.blocks[i], c, x, rotary, counts);
    if (observer) (*observer)("vision_block" + std::to_string(i), x);
  }
  const auto blocks = normed(v.merger_norm, x).view({-1, c.embed_dim * c.block_patches()});
  return linear(v.merger_fc2, at::gelu(linear(v.merger_fc1, blocks))).to(at::kFloat);
}

}  // namespace drm
