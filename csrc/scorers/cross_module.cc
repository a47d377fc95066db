#include "scorers/cross_module.h"

#include <ATen/ATen.h>

#include <limits>

#include "nn/attention.h"

namespace drm {
namespace {

UnbiasedNorm make_unbiased_norm(int64_t width) { return {make_parameter({width}), make_buffer({width})}; }

Tensor normed(const UnbiasedNorm& n, const Tensor& x) {
  return at::layer_norm(x, {x.size(-1)}, n.weight.value, n.bias.value, 1e-5);
}

Tensor gated(const Tensor& x) {
  const auto halves = x.chunk(2, -1);
  return halves[0] * at::silu(halves[1]);
}

/// softmax(q k^T / sqrt(K) + bias) v of q (B, N, H K) with one k and one v (B, M, K) for all heads, which are further
/// queries then; bias (B, M) or undefined.
Tensor attend_shared(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias) {
  const auto batch = q.size(0), channels = k.size(-1);
  const auto queries = q.reshape({batch, 1, -1, channels});
  const auto wide =
      bias.defined() ? bias.view({batch, 1, 1, -1}).expand({batch, 1, queries.size(2), k.size(1)}) : Tensor();
  return attend(queries, k.unsqueeze(1), v.unsqueeze(1), false, wide).reshape(q.sizes());
}

struct Rotation {
  Tensor cos, sin;  // (N, 1, K / 2), fp32
};

Rotation rotation(int64_t tokens, int64_t channels, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  const auto frequency = at::pow(10000.0, -at::arange(0, channels, 2, options) / static_cast<double>(channels));
  const auto angle = (at::arange(tokens, options).unsqueeze(1) * frequency).unsqueeze(1);
  return {angle.cos(), angle.sin()};
}

/// x (B, N, n K), each of whose n heads is rotated alike.
Tensor rotated(const Tensor& x, const Rotation& r, int64_t channels) {
  const auto halves = x.reshape({x.size(0), x.size(1), -1, channels}).to(at::kFloat).chunk(2, -1);
  const auto first = halves[0] * r.cos - halves[1] * r.sin, second = halves[1] * r.cos + halves[0] * r.sin;
  return at::cat({first, second}, -1).reshape(x.sizes()).to(x.scalar_type());
}

Tensor look_at_text(const CrossBlock& b, const Tensor& x, const Tensor& texts, const Tensor& bias) {
  const auto h = normed(b.norm, x);
  const auto kv = linear(b.kv, texts).chunk(2, -1);
  return x + linear(b.out, attend_shared(linear(b.q, h), kv[0], kv[1], bias)) +
         linear(b.mlp_out, gated(linear(b.mlp_in, h)));
}

Tensor look_at_image(const SelfBlock& b, const CrossModuleConfig& k, const Tensor& x, const Rotation& r) {
  const auto channels = k.head_channels;
  const auto parts = linear(b.fused, normed(b.norm, x))
                         .split_with_sizes({k.heads * channels, channels, channels, 2 * k.mlp_ratio * k.width}, -1);
  const auto a = attend_shared(rotated(parts[0], r, channels), rotated(parts[1], r, channels), parts[2], {});
  return x + linear(b.out, a) + linear(b.mlp_out, gated(parts[3]));
}

}  // namespace

CrossModule make_cross_module(const CrossModuleConfig& config) {
  const auto d = config.width, inner = config.heads * config.head_channels, mlp = config.mlp_ratio * d;
  CrossModule m{config, {}};
  for (int64_t i = 0; i < config.layers; ++i)
    m.layers.push_back(
        {{make_unbiased_norm(d), make_linear(d, inner, false), make_linear(d, 2 * config.head_channels, false),
          make_linear(inner, d, false), make_linear(d, 2 * mlp, false), make_linear(mlp, d, false)},
         {make_unbiased_norm(d), make_linear(d, inner + 2 * config.head_channels + 2 * mlp, false),
          make_linear(inner, d, false), make_linear(mlp, d, false)}});
  return m;
}

Tensor cross_module_forward(const CrossModule& m, const Tensor& images, const Tensor& texts, const Tensor& keep) {
  const auto bias = at::zeros(keep.sizes(), texts.options())
                        .masked_fill(keep.logical_not(), -std::numeric_limits<double>::infinity());
  const auto r = rotation(images.size(1), m.config.head_channels, images.device());
  auto x = images;
  for (const auto& l : m.layers) {
    x = look_at_text(l.cross, x, texts, bias);
    x = look_at_image(l.self, m.config, x, r);
  }
  return x;
}

}  // namespace drm
