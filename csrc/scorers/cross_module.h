// What MPS puts on CLIP's tokens (Zhang et al. 2024, "Learning Multi-dimensional Human Preference for Text-to-Image
// Generation"; reference: Kwai-Kolors/MPS): image tokens look at text tokens, then at each other, a few times over. In
// both blocks attention and a gated MLP read the same norm and are added, and all heads share one key and one value.
// Shapes: B batch, N image tokens, L text tokens, D width, H heads, K channels of a head.
#pragma once
#include <string>
#include <vector>

#include "nn/layers.h"

namespace drm {

struct CrossModuleConfig {
  int64_t width = 1024, layers = 4, heads = 16, head_channels = 64, mlp_ratio = 4;
};

/// LayerNorm (eps 1e-5) whose bias the file holds, though it is not trained and zero.
struct UnbiasedNorm {
  Parameter weight;
  Buffer bias;
};

struct CrossBlock {
  UnbiasedNorm norm;
  Linear q, kv, out;       // (H K, D), (2 K, D), (D, H K); none here has a bias
  Linear mlp_in, mlp_out;  // (2 ratio D, D), (D, ratio D)
};
struct SelfBlock {
  UnbiasedNorm norm;
  Linear fused;         // (H K + 2 K + 2 ratio D, D): q, k, v and the MLP's two inputs
  Linear out, mlp_out;  // (D, H K), (D, ratio D)
};
struct CrossLayer {
  CrossBlock cross;
  SelfBlock self;
};
struct CrossModule {
  CrossModuleConfig config;
  std::vector<CrossLayer> layers;
};

CrossModule make_cross_module(const CrossModuleConfig& config);

/// images (B, N, D), texts (B, L, D), keep (B, L) bool: the text tokens that are looked at, at least one a row.
/// Returns (B, N, D). Rotary positions are 0 to N - 1, base 10000, over all channels of a head, halves rotated.
Tensor cross_module_forward(const CrossModule& m, const Tensor& images, const Tensor& texts, const Tensor& keep);

template <class V>
void each(CrossModule& m, const std::string& prefix, V&& visit) {
  const auto norm = [&](const std::string& name, UnbiasedNorm& n) {
    visit(name + ".weight", n.weight);
    visit(name + ".bias", n.bias);
  };
  for (size_t i = 0; i < m.layers.size(); ++i) {
    const auto layer = prefix + "layers." + std::to_string(i);
    const auto cross = layer + ".0.fn.", self = layer + ".1.fn.";
    auto& l = m.layers[i];
    norm(cross + "norm", l.cross.norm);
    visit(cross + "to_q", l.cross.q);
    visit(cross + "to_kv", l.cross.kv);
    visit(cross + "to_out", l.cross.out);
    visit(cross + "ff.0", l.cross.mlp_in);
    visit(cross + "ff.2", l.cross.mlp_out);
    norm(self + "norm", l.self.norm);
    visit(self + "fused_attn_ff_proj", l.self.fused);
    visit(self + "attn_out", l.self.out);
    visit(self + "ff_out.1", l.self.mlp_out);
  }
}

}  // namespace drm
