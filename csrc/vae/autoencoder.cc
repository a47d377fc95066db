#include "vae/autoencoder.h"

#include <ATen/ATen.h>

#include "nn/attention.h"
#include "tensor_io/config_reader.h"
#include "vae/vae_keys.h"

namespace drm {
namespace {

constexpr double kEps = 1e-6;  // of every group norm; PyTorch's default is 1e-5

ResnetBlock make_resnet(int64_t in, int64_t out) {
  ResnetBlock r{make_norm(in), make_norm(out), make_conv(in, out, 3), make_conv(out, out, 3), {}};
  if (in != out) r.shortcut = make_conv(in, out, 1);
  return r;
}

MidBlock make_mid(int64_t c, bool attention) {
  MidBlock m{make_resnet(c, c), make_resnet(c, c), {}, {}, {}, {}, {}};
  if (attention) {
    m.attention_norm = make_norm(c);
    m.q = make_linear(c, c);
    m.k = make_linear(c, c);
    m.v = make_linear(c, c);
    m.out = make_linear(c, c);
  }
  return m;
}

struct Ops {  // what every block needs to know
  int64_t groups;
  const Observer* observer;
  Tensor norm_silu(const Norm& n, const Tensor& x) const {
    return at::silu(at::group_norm(x, groups, n.weight, n.bias, kEps));
  }
  void tap(const std::string& name, const Tensor& value) const {
    if (observer) (*observer)(name, value);
  }
};

Tensor resnet(const ResnetBlock& r, const Tensor& x, const Ops& ops) {
  auto y = conv2d(r.conv1, ops.norm_silu(r.norm1, x), 1, 1);
  y = conv2d(r.conv2, ops.norm_silu(r.norm2, y), 1, 1);
  return (r.shortcut.weight.defined() ? conv2d(r.shortcut, x, 1, 0) : x) + y;
}

Tensor mid_block(const MidBlock& m, const Tensor& x, const Ops& ops, const std::string& name) {
  auto y = resnet(m.first, x, ops);
  if (m.q.weight.defined()) {
    const auto tokens =
        at::group_norm(y, ops.groups, m.attention_norm.weight, m.attention_norm.bias, kEps).flatten(2).transpose(1, 2);
    const auto out = attend(split_heads(linear(m.q, tokens), 1), split_heads(linear(m.k, tokens), 1),
                            split_heads(linear(m.v, tokens), 1));
    y = y + linear(m.out, merge_heads(out)).transpose(1, 2).reshape(y.sizes());
    ops.tap(name + "mid_attn", y);
  }
  y = resnet(m.second, y, ops);
  ops.tap(name + "mid", y);
  return y;
}

}  // namespace

VaeConfig read_vae_config(const std::string& path) {
  std::shared_ptr<Json> json;
  const auto r = ConfigReader::read(path, json);
  r.expect("_class_name", "AutoencoderKL");
  r.expect("act_fn", "silu");
  VaeConfig c;
  c.in_channels = r.integer("in_channels", 3);
  c.out_channels = r.integer("out_channels", 3);
  c.latent_channels = r.integer("latent_channels", 4);
  c.block_out_channels = r.integers("block_out_channels");
  c.layers_per_block = r.integer("layers_per_block", 1);
  c.norm_num_groups = r.integer("norm_num_groups", 32);
  c.scaling_factor = r.number("scaling_factor", 0.18215);
  c.shift_factor = r.number("shift_factor", 0.0);
  c.quant_conv = r.boolean("use_quant_conv", true);
  c.post_quant_conv = r.boolean("use_post_quant_conv", true);
  c.mid_attention = r.boolean("mid_block_add_attention", true);
  c.force_upcast = r.boolean("force_upcast", true);
  for (const char* key : {"down_block_types", "up_block_types"})
    for (const auto& type : r.strings(key, {}))
      if (type != "DownEncoderBlock2D" && type != "UpDecoderBlock2D")
        throw Failure(Code::BadConfig, std::string("[config] ") + key + " in " + path +
                                           ": expected DownEncoderBlock2D or UpDecoderBlock2D, found " + type +
                                           "; this VAE is of another kind than SD3's");
  if (c.block_out_channels.empty() || c.block_out_channels.size() > 8)
    throw Failure(Code::BadConfig, "[config] block_out_channels in " + path + ": expected 1 to 8 entries, found " +
                                       std::to_string(c.block_out_channels.size()));
  for (const auto channels : c.block_out_channels)
    if (channels < 1 || channels > (1 << 16) || c.norm_num_groups < 1 || channels % c.norm_num_groups)
      throw Failure(Code::BadConfig, "[config] block_out_channels in " + path +
                                         ": expected positive multiples of norm_num_groups (" +
                                         std::to_string(c.norm_num_groups) + "), found " + std::to_string(channels));
  if (c.scaling_factor == 0 || c.layers_per_block < 1 || c.layers_per_block > 64 || c.latent_channels < 1 ||
      c.latent_channels > 4096)
    throw Failure(Code::BadConfig,
                  "[config] " + path +
                      ": expected scaling_factor other than 0, layers_per_block 1 to 64 and latent_channels 1 to 4096");
  return c;
}

VaeConfig infer_vae_config(const Weights& weights) {
  const auto channels = [&](const std::string& key) {
    const auto it = weights.entries().find(key);
    if (it == weights.entries().end() || it->second.info.shape.empty())
      throw Failure(Code::BadFile, "[load] " + weights.description() + ": expected the VAE of SD3, found no " + key +
                                       "; name its file with --vae");
    return it->second.info.shape[0];
  };
  VaeConfig c;
  const std::string down = "encoder.down_blocks.";
  for (int64_t i = 0; weights.has(down + std::to_string(i) + ".resnets.0.conv1.weight"); ++i)
    c.block_out_channels.push_back(channels(down + std::to_string(i) + ".resnets.0.conv1.weight"));
  for (c.layers_per_block = 0; weights.has(down + "0.resnets." + std::to_string(c.layers_per_block) + ".conv1.weight");)
    ++c.layers_per_block;
  c.latent_channels = channels("encoder.conv_out.weight") / 2;
  c.quant_conv = weights.has("quant_conv.weight");
  c.post_quant_conv = weights.has("post_quant_conv.weight");
  c.mid_attention = weights.has("encoder.mid_block.attentions.0.to_q.weight");
  return c;
}

VaeConfig vae_config_of(const std::string& config, const Weights& weights) {
  return config.empty() ? infer_vae_config(weights) : read_vae_config(config);
}

VaeConfig vae_config_of(const ComponentFiles& files) {
  return files.config.empty() ? infer_vae_config(Weights::open(files.weights, vae_keys))
                              : read_vae_config(files.config);
}

Vae make_vae(const VaeConfig& c) {
  Vae v;
  v.config = c;
  const auto& widths = c.block_out_channels;
  const auto levels = static_cast<int64_t>(widths.size());
  const auto top = widths.back();
  auto& e = v.encoder;
  e.conv_in = make_conv(c.in_channels, widths[0], 3);
  int64_t in = widths[0];
  for (int64_t i = 0; i < levels; ++i) {
    ScaleBlock b;
    for (int64_t j = 0; j < c.layers_per_block; ++j) b.resnets.push_back(make_resnet(j ? widths[i] : in, widths[i]));
    if (i + 1 < levels) b.resample = make_conv(widths[i], widths[i], 3);
    in = widths[i];
    e.down.push_back(std::move(b));
  }
  e.mid = make_mid(top, c.mid_attention);
  e.norm_out = make_norm(top);
  e.conv_out = make_conv(top, 2 * c.latent_channels, 3);
  if (c.quant_conv) e.quant = make_conv(2 * c.latent_channels, 2 * c.latent_channels, 1);

  auto& d = v.decoder;
  if (c.post_quant_conv) d.post_quant = make_conv(c.latent_channels, c.latent_channels, 1);
  d.conv_in = make_conv(c.latent_channels, top, 3);
  d.mid = make_mid(top, c.mid_attention);
  in = top;
  for (int64_t i = levels - 1; i >= 0; --i) {
    ScaleBlock b;
    // The decoder has one more resnet at each resolution than the encoder.
    for (int64_t j = 0; j <= c.layers_per_block; ++j) b.resnets.push_back(make_resnet(j ? widths[i] : in, widths[i]));
    if (i > 0) b.resample = make_conv(widths[i], widths[i], 3);
    in = widths[i];
    d.up.push_back(std::move(b));
  }
  d.norm_out = make_norm(widths[0]);
  d.conv_out = make_conv(widths[0], c.out_channels, 3);
  return v;
}

void load_vae(Vae& v, const Weights& weights, at::ScalarType dtype, at::Device device,
              const std::function<void(uint64_t, uint64_t)>& progress) {
  weights.fill(wanted(v), dtype, device, {}, "", progress);
}

Tensor Posterior::standard_deviation() const { return at::exp(0.5 * logvar); }
Tensor Posterior::sample(const Tensor& noise) const { return mean + standard_deviation() * noise; }

Posterior posterior(const Tensor& moments) {
  const auto parts = moments.chunk(2, 1);
  return {parts[0], parts[1].clamp(-30.0, 20.0)};
}

Tensor encode_moments(const Vae& v, const Tensor& images, const Observer* observer) {
  const auto& e = v.encoder;
  const Ops ops{v.config.norm_num_groups, observer};
  auto x = conv2d(e.conv_in, images, 1, 1);
  for (size_t i = 0; i < e.down.size(); ++i) {
    for (const auto& r : e.down[i].resnets) x = resnet(r, x, ops);
    // One row below and one column to the right, not all around: this is how the reference halves.
    if (e.down[i].resample.weight.defined()) x = conv2d(e.down[i].resample, at::constant_pad_nd(x, {0, 1, 0, 1}), 2, 0);
    ops.tap("enc.down" + std::to_string(i), x);
  }
  x = mid_block(e.mid, x, ops, "enc.");
  x = conv2d(e.conv_out, ops.norm_silu(e.norm_out, x), 1, 1);
  return e.quant.weight.defined() ? conv2d(e.quant, x, 1, 0) : x;
}

Tensor decode(const Vae& v, const Tensor& latents, const Observer* observer) {
  const auto& d = v.decoder;
  const Ops ops{v.config.norm_num_groups, observer};
  auto x = d.post_quant.weight.defined() ? conv2d(d.post_quant, latents, 1, 0) : latents;
  x = mid_block(d.mid, conv2d(d.conv_in, x, 1, 1), ops, "dec.");
  for (size_t i = 0; i < d.up.size(); ++i) {
    for (const auto& r : d.up[i].resnets) x = resnet(r, x, ops);
    if (d.up[i].resample.weight.defined())
      x = conv2d(d.up[i].resample, at::upsample_nearest2d(x, {x.size(2) * 2, x.size(3) * 2}), 1, 1);
    ops.tap("dec.up" + std::to_string(i), x);
  }
  return conv2d(d.conv_out, ops.norm_silu(d.norm_out, x), 1, 1);
}

Tensor scale_latents(const VaeConfig& c, const Tensor& z) { return (z - c.shift_factor) * c.scaling_factor; }
Tensor unscale_latents(const VaeConfig& c, const Tensor& latents) {
  return latents / c.scaling_factor + c.shift_factor;
}

Tensor image_from_bytes(const Tensor& bytes) { return bytes.to(at::kFloat) / 255 * 2 - 1; }
Tensor unit_range(const Tensor& image) { return (image.to(at::kFloat) * 0.5 + 0.5).clamp(0, 1); }
Tensor bytes_from_unit(const Tensor& unit) {
  return (unit.permute({0, 2, 3, 1}) * 255).round().to(at::kByte).contiguous();
}

}  // namespace drm
