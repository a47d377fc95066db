// The head that ImageReward and the aesthetic predictor share: five affine layers with nothing but dropout between
// them, which is off in evaluation. They are one affine map, and are collapsed into it.
// Shapes: B batch, D width of what the head reads.
#pragma once
#include <string>
#include <vector>

#include "nn/layers.h"
#include "tensor_io/json.h"

namespace drm {

struct AffineHead {
  std::vector<Linear> layers;  // five
};

/// Widths between the layers, from "head_config": {"hidden_sizes": [...]} of a config; the published ones, 1024, 128,
/// 64 and 16, where it has no such section. `path` names the config. Throws Failure(BadConfig).
std::vector<int64_t> read_head_sizes(const Json& config, const std::string& path);

AffineHead make_affine_head(int64_t width, const std::vector<int64_t>& hidden_sizes);

struct AffineMap {
  Tensor weight;  // (1, D), fp32
  Tensor bias;    // (1), fp32
};

/// The same function, multiplied out in fp64 and rounded once.
AffineMap collapse(const AffineHead& head, at::Device device);
/// (B) in fp32; x (B, D) of any dtype.
Tensor affine(const AffineMap& map, const Tensor& x);

/// Where the layers stand in the sequence of the published module, dropouts counted.
inline constexpr int kHeadPlaces[] = {0, 2, 4, 6, 7};

template <class V>
void each_affine_head(AffineHead& head, const std::string& prefix, V&& visit) {
  for (size_t i = 0; i < head.layers.size(); ++i)
    visit(prefix + "layers." + std::to_string(kHeadPlaces[i]), head.layers[i]);
}

}  // namespace drm
