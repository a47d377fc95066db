#include "train/vae_objective.h"

#include <ATen/ATen.h>

#include "nn/initialize.h"
#include "random/draws.h"
#include "tensor_io/safetensors.h"
#include "train/trainable.h"
#include "vae/autoencoder.h"
#include "vae/vae_keys.h"

namespace drm {
namespace {

/// L1 between the differences of neighbours, along both axes.
Tensor edge_loss(const Tensor& a, const Tensor& b) {
  const auto delta = a - b;
  const auto along = [&](int64_t axis) {
    const auto n = delta.size(axis) - 1;
    return (delta.narrow(axis, 1, n) - delta.narrow(axis, 0, n)).abs().mean();
  };
  return along(2) + along(3);
}

class VaeObjective final : public Objective {
 public:
  VaeObjective(const VaeSpec& spec, uint64_t seed, at::Device device)
      : vae_(make_vae(read_vae_config(spec.config))), spec_(spec), device_(device) {
    if (spec.weights.empty())
      initialize(vae_, seeded_generator(seed));
    else
      load_vae(vae_, Weights::open(spec.weights, vae_keys), at::kFloat, device);
    parameters_ = trainable(vae_, device);
    // Convolutions are fastest with channels innermost; the weights keep that layout through every step.
    for (auto& [name, p] : parameters_)
      if (p.dim() == 4) p.set_data(p.detach().contiguous(at::MemoryFormat::ChannelsLast));
  }

  NamedTensors parameters() override { return parameters_; }

  Loss loss(const TrainBatch& batch, const StepKey& key) override {
    const auto x = images(batch);
    const auto moments = encode_moments(vae_, x).to(at::kFloat);
    const auto p = posterior(moments);
    const Draw draw{key.seed, key.evaluation ? Purpose::Evaluation : Purpose::Posterior,
                    static_cast<uint32_t>(key.step)};
    const auto z = p.sample(draw_normal(draw, batch.samples, p.mean.sizes().slice(1), device_));
    const auto y = decode(vae_, z.contiguous(at::MemoryFormat::ChannelsLast)).to(at::kFloat);
    const auto l1 = (y - x).abs().mean(), l2 = (y - x).square().mean(), edges = edge_loss(y, x);
    const auto kl = 0.5 * (p.mean.square() + p.logvar.exp() - 1 - p.logvar).mean();
    return {spec_.l1 * l1 + spec_.l2 * l2 + spec_.edges * edges + spec_.kl * kl,
            {{"l1", l1.detach()}, {"l2", l2.detach()}, {"edges", edges.detach()}, {"kl", kl.detach()}}};
  }

  std::vector<Metric> evaluate(const TrainBatch& batch, const StepKey&) override {
    const auto x = images(batch);
    const auto mode = posterior(encode_moments(vae_, x).to(at::kFloat)).mode();
    const auto y = unit_range(decode(vae_, mode.contiguous(at::MemoryFormat::ChannelsLast)));
    const auto error = (y - unit_range(x)).square().flatten(1).mean(1);
    return {{"psnr", (-10 * at::log10(error + 1e-10)).mean()},
            {"latent_mean", mode.mean()},
            {"latent_square", mode.square().mean()}};
  }

  void export_weights(const std::string& path, at::ScalarType dtype) override {
    NamedTensors all;
    for (const auto& [name, p] : parameters_) all.emplace_back(name, p.detach().to(dtype).contiguous());
    save_safetensors(path, all, {{"format", "pt"}});
  }

 private:
  Tensor images(const TrainBatch& batch) const {
    const auto pixels = batch_pixels(batch);
    const auto f = vae_.config.factor();
    if (batch.height % f || batch.width % f)
      throw Failure(Code::BadRequest, "[vae] images of " + std::to_string(batch.width) + " x " +
                                          std::to_string(batch.height) + ": expected multiples of " +
                                          std::to_string(f) + "; set --size");
    // (B, H, W, 3) bytes are channels-last already: the permuted view keeps that layout.
    return image_from_bytes(pixels.to(device_).permute({0, 3, 1, 2}));
  }

  Vae vae_;
  VaeSpec spec_;
  at::Device device_;
  NamedTensors parameters_;
};

}  // namespace

std::unique_ptr<Objective> vae_objective(const VaeSpec& spec, uint64_t seed, at::Device device) {
  return std::make_unique<VaeObjective>(spec, seed, device);
}

}  // namespace drm
