#include "train/flow_objective.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <unordered_map>

#include "flow/sampler.h"
#include "pipeline/text_encoders.h"
#include "random/draws.h"
#include "tensor_io/lora_file.h"
#include "tensor_io/safetensors.h"
#include "train/initialize.h"
#include "vae/autoencoder.h"

namespace drm {
namespace {

class Flow final : public FlowObjective {
 public:
  Flow(const FlowSpec& spec, uint64_t seed, at::Device device, Control& control)
      : spec_(spec),
        device_(device),
        scheduler_(spec.source.scheduler_config.empty() ? SchedulerConfig{}
                                                        : read_scheduler_config(spec.source.scheduler_config)),
        transformer_(make_mmdit(read_mmdit_config(spec.source.transformer.config))),
        vae_(make_vae(read_vae_config(spec.source.vae.config))),
        encoders_(load_text_encoders(plan_text_encoders(spec.source), at::kFloat, device,
                                     [&](uint64_t, uint64_t) { control.check(); })) {
    load_vae(vae_, Weights::open(spec.source.vae.weights, Component::Vae), at::kFloat, device);
    if (!spec.source.transformer.present()) {
      if (spec.lora)
        throw Failure(Code::BadRequest,
                      "[flow] LoRA adapts trained weights: expected a model to start from, found only a config; give "
                      "--model, or train all weights with --set lora_rank=0");
      initialize_mmdit(transformer_, seeded_generator(seed));
    } else {
      load_mmdit(transformer_, Weights::open(spec.source.transformer.weights, Component::Transformer), at::kFloat,
                 device);
    }
    if (vae_.config.latent_channels != transformer_.config.in_channels ||
        encoders_.pooled_width() != transformer_.config.pooled_projection_dim)
      throw Failure(Code::BadConfig,
                    "[flow] " + spec.source.transformer.config + ": in_channels and pooled_projection_dim must be " +
                        std::to_string(vae_.config.latent_channels) + " and " +
                        std::to_string(encoders_.pooled_width()) + " as the VAE and the text encoders have them");
    if (spec.lora) {
      each_tensor(transformer_, [&](const std::string&, Tensor& t) { t = t.to(device); });
      adapted_ = find_targets(transformer_, spec.lora->targets);
      add_lora(adapted_, *spec.lora, seeded_generator(seed));
      parameters_ = lora_tensors(adapted_);
      for (auto& [name, p] : parameters_) p.requires_grad_(true);
    } else {
      parameters_ = trainable(transformer_, device);
    }
  }

  NamedTensors parameters() override { return parameters_; }

  void cache_latents(const TrainBatch& batch) override {
    const at::NoGradGuard no_grad;
    const auto p = encode(batch);
    for (int64_t i = 0; i < batch.size(); ++i)
      latents_[batch.samples[static_cast<size_t>(i)]] =
          at::stack({p.mean[i], p.standard_deviation()[i]}).to(at::kCPU, at::kFloat);
  }

  void cache_prompts(const std::vector<PromptTokens>& prompts, Control& control) override {
    const at::NoGradGuard no_grad;
    prompts_ =
        encode_prompts(encoders_, prompts, spec_.t5_length, transformer_.config.joint_attention_dim, device_, control);
    encoders_.free();
  }

  Loss loss(const TrainBatch& batch, const StepKey& key) override {
    const auto step = static_cast<uint32_t>(key.step);
    const auto draw = [&](Purpose purpose) {
      // Held-out losses use one stream for all their numbers, told apart by the candidate index.
      return key.evaluation ? Draw{key.seed, Purpose::Evaluation, step, 0, static_cast<uint32_t>(purpose)}
                            : Draw{key.seed, purpose, step};
    };
    const auto [mean, deviation] = posterior_of(batch);
    auto z = mean;
    if (spec_.posterior_sample)
      z = z + deviation * draw_normal(draw(Purpose::Posterior), batch.samples, mean.sizes().slice(1), device_);
    const auto x_0 = scale_latents(vae_.config, z);
    const auto sigma = noise_levels(draw(Purpose::Timestep), batch.samples);
    const auto noise = draw_normal(draw(Purpose::Noise), batch.samples, x_0.sizes().slice(1), device_);
    auto rows = at::tensor(batch.texts, at::kLong).to(device_);
    if (!key.evaluation) {
      const auto dropped = draw_uniform(draw(Purpose::Drop), batch.samples, device_).lt(spec_.prompt_dropout);
      rows = rows.masked_fill(dropped, 0);
    }
    const auto v = predict(add_noise(x_0, noise, sigma), sigma, rows).to(at::kFloat);
    const auto errors = (v - (noise - x_0)).square().flatten(1).mean(1);  // Eq. 2
    // The same loss by noise level: a model that improves at one end only shows here.
    const auto low = sigma.lt(0.5).to(at::kFloat);
    const auto part = [&](const Tensor& mask) { return (errors.detach() * mask).sum() / mask.sum().clamp_min(1); };
    return {errors.mean(), {{"loss_low_noise", part(low)}, {"loss_high_noise", part(1 - low)}}};
  }

  std::vector<std::pair<std::string, Tensor>> evaluate(const TrainBatch& batch, const StepKey& key) override {
    auto l = loss(batch, key);
    l.metrics.emplace_back("loss", l.total);
    return std::move(l.metrics);
  }

  Tensor preview(const PreviewRequest& r, const Control& control) override {
    const at::InferenceMode inference;
    const auto f = vae_.config.factor();
    const auto side = [&](int64_t asked) { return asked ? asked / f : transformer_.config.sample_size; };
    std::vector<Tensor> first;
    for (const auto seed : r.seeds)
      first.push_back(initial_latents(seed, vae_.config.latent_channels, side(r.height), side(r.width), at::kFloat));
    const auto rows = at::tensor(r.texts, at::kLong).to(device_);
    const Conditioning text{text_rows(rows), text_rows(at::zeros_like(rows))};
    const auto latents = denoise(transformer_, at::cat(first, 0).to(device_), text,
                                 sampling_schedule(scheduler_, r.steps), {r.guidance}, control);
    return bytes_from_unit(unit_range(decode(vae_, unscale_latents(vae_.config, latents)))).to(at::kCPU);
  }

  void export_weights(const std::string& path, at::ScalarType dtype) override {
    if (spec_.lora) return save_lora(path, adapted_, *spec_.lora);
    std::vector<std::pair<std::string, Tensor>> all;
    each_tensor(transformer_,
                [&](const std::string& name, Tensor& t) { all.emplace_back(name, t.detach().to(dtype)); });
    save_safetensors(path, all, {{"format", "pt"}});
  }

 private:
  Posterior encode(const TrainBatch& batch) const {
    const auto x = picture_from_bytes(batch_pixels(batch).to(device_).permute({0, 3, 1, 2}));
    return posterior(encode_moments(vae_, x).to(at::kFloat));
  }

  /// Mean and deviation (B, C, h, w): of the batch's pictures, or from the cache.
  std::pair<Tensor, Tensor> posterior_of(const TrainBatch& batch) const {
    if (!batch.pixels.empty()) {
      const at::NoGradGuard no_grad;
      const auto p = encode(batch);
      return {p.mean, p.standard_deviation()};
    }
    std::vector<Tensor> rows;
    for (const auto sample : batch.samples) {
      const auto it = latents_.find(sample);
      if (it == latents_.end())
        throw Failure(Code::BadRequest, "[flow] sample " + std::to_string(sample) + ": its latents were never cached");
      rows.push_back(it->second);
    }
    const auto both = at::stack(rows).to(device_);
    return {both.select(1, 0), both.select(1, 1)};
  }

  Tensor noise_levels(const Draw& draw, const std::vector<int64_t>& samples) const {
    const auto u = spec_.logit_normal
                       ? at::sigmoid(spec_.mean + spec_.deviation * draw_normal(draw, samples, {1}, device_).squeeze(1))
                       : draw_uniform(draw, samples, device_);
    if (!spec_.shifted) return u;
    const auto s = scheduler_.shift;
    return s * u / (1 + (s - 1) * u);
  }

  TextEmbedding text_rows(const Tensor& rows) const {
    if (!prompts_.sequence.defined()) throw Failure(Code::BadRequest, "[flow] the prompts were never cached");
    return embed_text(transformer_, prompts_.sequence.index_select(0, rows), prompts_.pooled.index_select(0, rows));
  }

  Tensor predict(const Tensor& x_t, const Tensor& sigma, const Tensor& rows) const {
    VelocityOptions options;
    options.recompute = spec_.recompute;
    return velocity(transformer_, x_t, sigma * static_cast<double>(scheduler_.num_train_timesteps), text_rows(rows),
                    options);
  }

  FlowSpec spec_;
  at::Device device_;
  SchedulerConfig scheduler_;
  MMDiT transformer_;
  Vae vae_;
  TextEncoders encoders_;
  std::vector<AdaptedLayer> adapted_;
  NamedTensors parameters_;
  std::unordered_map<int64_t, Tensor> latents_;  // (2, C, h, w): mean, deviation
  PromptEmbeds prompts_;
};

}  // namespace

std::unique_ptr<FlowObjective> FlowObjective::create(const FlowSpec& spec, uint64_t seed, at::Device device,
                                                     Control& control) {
  return std::make_unique<Flow>(spec, seed, device, control);
}

}  // namespace drm
