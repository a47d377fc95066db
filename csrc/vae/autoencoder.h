// AutoencoderKL of Stable Diffusion 3 (Rombach et al. 2022; reference: diffusers' AutoencoderKL).
// Shapes: B batch, C latent channels, H W pixels, h w latent pixels (H / factor, W / factor).
#pragma once
#include <string>
#include <vector>

#include "common/control.h"
#include "common/model_source.h"
#include "nn/layers.h"

namespace drm {

struct VaeConfig {
  int64_t in_channels = 3, out_channels = 3, latent_channels = 16;
  std::vector<int64_t> block_out_channels;
  int64_t layers_per_block = 2, norm_num_groups = 32;
  double scaling_factor = 1.5305, shift_factor = 0.0609;
  bool quant_conv = false, post_quant_conv = false, mid_attention = true;
  bool force_upcast = true;  // its activations pass fp16's 65504
  /// That the VAE of a model in `dtype` runs in.
  at::ScalarType dtype_of(at::ScalarType dtype) const {
    return dtype == at::kHalf && force_upcast ? at::kFloat : dtype;
  }
  /// Pixels per latent pixel, along each side.
  int64_t factor() const { return int64_t{1} << (block_out_channels.size() - 1); }
};

/// Reads a diffusers vae/config.json. Throws Failure(BadConfig | BadFile).
VaeConfig read_vae_config(const std::string& path);
/// SD3's VAE with sizes from the shapes (32 groups, scaling 1.5305 and shift 0.0609 cannot be told). Throws
/// Failure(BadFile).
VaeConfig infer_vae_config(const Weights& weights);
/// By its file, or, where that is "", from the shapes of the weights. Throws Failure(BadConfig | BadFile).
VaeConfig vae_config_of(const std::string& config, const Weights& weights);
/// The same of files whose weights nobody has opened yet: they are only where there is no config.
VaeConfig vae_config_of(const ComponentFiles& files);

struct ResnetBlock {
  Norm norm1, norm2;
  Conv2d conv1, conv2, shortcut;  // shortcut only where the channel count changes
};

struct MidBlock {
  ResnetBlock first, second;
  Norm attention_norm;
  Linear q, k, v, out;  // one head over the full width
};

struct ScaleBlock {  // a resolution of the encoder or the decoder
  std::vector<ResnetBlock> resnets;
  Conv2d resample;  // undefined at the last one
};

struct Encoder {
  Conv2d conv_in, conv_out, quant;
  std::vector<ScaleBlock> down;
  MidBlock mid;
  Norm norm_out;
};

struct Decoder {
  Conv2d conv_in, conv_out, post_quant;
  std::vector<ScaleBlock> up;
  MidBlock mid;
  Norm norm_out;
};

struct Vae {
  VaeConfig config;
  Encoder encoder;
  Decoder decoder;
};

Vae make_vae(const VaeConfig& config);
/// Throws Failure(KeysMismatch).
void load_vae(Vae& v, const Weights& weights, at::ScalarType dtype, at::Device device,
              const std::function<void(uint64_t, uint64_t)>& progress = {});

/// The encoder's Gaussian: all (B, C, h, w); logvar clamped to [-30, 20].
struct Posterior {
  Tensor mean, logvar;
  Tensor standard_deviation() const;
  Tensor mode() const { return mean; }
  Tensor sample(const Tensor& noise) const;  // mean + std * noise
};
/// Splits moments (B, 2C, h, w).
Posterior posterior(const Tensor& moments);

/// Images in [-1, 1], (B, 3, H, W), H and W multiples of the factor -> moments (B, 2C, h, w).
Tensor encode_moments(const Vae& v, const Tensor& images, const Observer* observer = nullptr);
/// Unscaled latents (B, C, h, w) -> images around [-1, 1], (B, 3, H, W), not clamped.
Tensor decode(const Vae& v, const Tensor& latents, const Observer* observer = nullptr);

/// VAE space <-> the space the transformer works in: (z - shift) * scale and back.
Tensor scale_latents(const VaeConfig& c, const Tensor& z);
Tensor unscale_latents(const VaeConfig& c, const Tensor& latents);

/// bytes (B, 3, H, W) uint8 -> [-1, 1] fp32, as 2 * x / 255 - 1.
Tensor image_from_bytes(const Tensor& bytes);
/// [-1, 1] -> [0, 1] clamped, fp32.
Tensor unit_range(const Tensor& image);
/// [0, 1] (B, 3, H, W) -> uint8 (B, H, W, 3), rounding halves to even.
Tensor bytes_from_unit(const Tensor& unit);

struct Tiling {
  int64_t edge = 128;    // latent pixels a side of a tile
  int64_t overlap = 32;  // latent pixels shared by neighbours, blended linearly
};
/// decode() in tiles: memory is bounded by one tile, seams are blended. Cancellable between tiles.
Tensor decode_tiled(const Vae& v, const Tensor& latents, const Tiling& tiling, const Control& control);
/// encode_moments() in tiles of edge * factor pixels.
Tensor encode_moments_tiled(const Vae& v, const Tensor& images, const Tiling& tiling, const Control& control);

template <class V>
void each(const std::string& n, ResnetBlock& r, V&& visit) {
  visit(n + "norm1", r.norm1);
  visit(n + "conv1", r.conv1);
  visit(n + "norm2", r.norm2);
  visit(n + "conv2", r.conv2);
  if (r.shortcut.weight.defined()) visit(n + "conv_shortcut", r.shortcut);
}

template <class V>
void each(const std::string& n, MidBlock& m, V&& visit) {
  each(n + "resnets.0.", m.first, visit);
  if (m.q.weight.defined()) {
    visit(n + "attentions.0.group_norm", m.attention_norm);
    visit(n + "attentions.0.to_q", m.q);
    visit(n + "attentions.0.to_k", m.k);
    visit(n + "attentions.0.to_v", m.v);
    visit(n + "attentions.0.to_out.0", m.out);
  }
  each(n + "resnets.1.", m.second, visit);
}

template <class V>
void each(const std::string& n, std::vector<ScaleBlock>& blocks, const char* resample, V&& visit) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto block = n + std::to_string(i) + ".";
    for (size_t j = 0; j < blocks[i].resnets.size(); ++j)
      each(block + "resnets." + std::to_string(j) + ".", blocks[i].resnets[j], visit);
    if (blocks[i].resample.weight.defined()) visit(block + resample, blocks[i].resample);
  }
}

template <class V>
void each(Vae& v, V&& visit) {
  visit("encoder.conv_in", v.encoder.conv_in);
  each("encoder.down_blocks.", v.encoder.down, "downsamplers.0.conv", visit);
  each("encoder.mid_block.", v.encoder.mid, visit);
  visit("encoder.conv_norm_out", v.encoder.norm_out);
  visit("encoder.conv_out", v.encoder.conv_out);
  visit("decoder.conv_in", v.decoder.conv_in);
  each("decoder.up_blocks.", v.decoder.up, "upsamplers.0.conv", visit);
  each("decoder.mid_block.", v.decoder.mid, visit);
  visit("decoder.conv_norm_out", v.decoder.norm_out);
  visit("decoder.conv_out", v.decoder.conv_out);
  if (v.config.quant_conv) visit("quant_conv", v.encoder.quant);
  if (v.config.post_quant_conv) visit("post_quant_conv", v.decoder.post_quant);
}

}  // namespace drm
