// LPIPS v0.1, the learned perceptual image patch similarity (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep
// Features as a Perceptual Metric", Eq. 1; reference: the authors' package lpips 0.1.4): at five stages of a classifier
// the features of two images are compared position by position. Shapes: B batch, C channels, H x W pixels or positions
// of a stage.
#pragma once
#include <array>

#include "nn/layers.h"

namespace drm {

enum class LpipsNetwork { Alex, Vgg };

struct LpipsConfig {
  LpipsNetwork network = LpipsNetwork::Alex;
  std::array<int64_t, 5> channels{};  // of the stages; the convolutions of a VGG stage are all as wide
};

/// torchvision's AlexNet or VGG16, which the published weights belong to.
LpipsConfig published_lpips(LpipsNetwork network);
/// {"network": "alex" | "vgg", "channels": [5 numbers], "version": "0.1"}; without channels the published ones. Throws
/// Failure(BadConfig | BadFile).
LpipsConfig read_lpips_config(const std::string& path);
/// The network whose keys these weights have, at its published size, for files without a config.
LpipsConfig guess_lpips_config(const Weights& weights);

struct LpipsConvolution {
  int64_t index;  // among torchvision's `features`
  int64_t kernel, stride, padding;
  Conv2d conv;
};
struct LpipsStage {
  int64_t pool;  // side of the max pooling before it, in steps of 2; 0: none
  std::vector<LpipsConvolution> convolutions;
  Conv2d lin;  // (1, C, 1, 1), no bias, fp32: how much each channel's difference counts
};
struct Lpips {
  LpipsConfig config;
  std::array<LpipsStage, 5> stages;
};

Lpips make_lpips(const LpipsConfig& config);
/// torchvision's trunk and the authors' lin weights, in one file or two; the trunk's classifier is passed over. Throws
/// Failure(KeysMismatch | BadFile).
void load_lpips(Lpips& m, const Weights& weights, at::ScalarType dtype, at::Device device,
                const std::function<void(uint64_t, uint64_t)>& progress = {});
/// Of torchvision's and the authors' keys.
KeyReader lpips_keys();

/// The shorter side, in pixels, of the smallest image that reaches the last stage.
int64_t smallest_side(const Lpips& m);

/// 8-bit images (B, H, W, 3) to (B, 3, H, W) fp32 in [-1, 1]: x / 127.5 - 1.
Tensor lpips_pixels(const Tensor& images_BHWC);

/// Of each stage (B, C, H, W) in fp32, every position a unit vector, or 0 where no channel answers. pixels (B, 3, H, W)
/// in
/// [-1, 1], of at least smallest_side(). The network runs in its weights' dtype. Observer names: "stage.<i>", the stage
/// before it is made unit.
std::vector<Tensor> lpips_features(const Lpips& m, const Tensor& pixels, const Observer* observer = nullptr);

/// What each stage adds to the distance (B, 5): squared differences, weighted by channel, averaged over positions.
Tensor lpips_by_stage(const Lpips& m, const std::vector<Tensor>& a, const std::vector<Tensor>& b);

/// Sums of the lin weights by stage of the published v0.1; v0.0's have the same names and shapes.
std::array<double, 5> published_lin_sums(LpipsNetwork network);
std::array<double, 5> lin_sums(const Lpips& m);

template <class V>
void each(Lpips& m, V&& visit) {
  for (auto& stage : m.stages)
    for (auto& c : stage.convolutions) visit("features." + std::to_string(c.index), c.conv);
  for (size_t i = 0; i < m.stages.size(); ++i) visit("lin" + std::to_string(i) + ".model.1", m.stages[i].lin);
}

}  // namespace drm
