#include "train/flow_objective.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "flow/sampler.h"
#include "lora/adapter.h"
#include "lora/lora_file.h"
#include "models/registry.h"
#include "nn/initialize.h"
#include "random/draws.h"
#include "tensor_io/safetensors.h"
#include "train/frozen_inputs.h"
#include "train/trainable.h"
#include "vae/images.h"

namespace drm {
namespace {

class Flow final : public FlowObjective {
 public:
  Flow(const FlowSpec& spec, uint64_t seed, at::Device device, Control& control)
      : spec_(spec),
        device_(device),
        scheduler_(read_scheduler_config(spec.source.scheduler_config)),
        model_(velocity_config_of(spec.source.transformer).plan(0)),
        inputs_(spec.source, spec.t5_length, model_, at::kFloat, device, control) {
    if (!spec.source.transformer.present()) {
      if (spec.lora.rank > 0)
        throw Failure(Code::BadRequest,
                      "[flow] LoRA adapts trained weights: expected a model to start from, found only a config; give "
                      "--model, or train all weights with --set lora_rank=0");
      model_->initialize(seeded_generator(seed));
    } else {
      load_velocity_model(*model_, Weights::open(spec.source.transformer.weights, velocity_keys), at::kFloat, device);
    }
    inputs_.require_fit(spec.source.transformer.config, "flow");
    if (spec.lora.rank > 0) {
      each_tensor(*model_, [&](const std::string&, Tensor& t) { t = t.to(device); });
      adapted_ = find_targets(*model_, spec.lora.targets);
      add_lora(adapted_, spec.lora, seeded_generator(seed));
      parameters_ = lora_tensors(adapted_);
      for (auto& [name, p] : parameters_) p.requires_grad_(true);
    } else {
      parameters_ = trainable(*model_, device);
    }
  }

  NamedTensors parameters() override { return parameters_; }

  FrozenInputs& inputs() override { return inputs_; }

  Loss loss(const TrainBatch& batch, const StepKey& key) override {
    const auto step = static_cast<uint32_t>(key.step);
    const auto draw = [&](Purpose purpose) {
      // Held-out losses use one stream for all their numbers, told apart by the candidate index.
      return key.evaluation ? Draw{key.seed, Purpose::Evaluation, step, 0, static_cast<uint32_t>(purpose)}
                            : Draw{key.seed, purpose, step};
    };
    const auto [mean, deviation] = inputs_.posterior_of(batch);
    auto z = mean;
    if (spec_.posterior_sample)
      z = z + deviation * draw_normal(draw(Purpose::Posterior), batch.samples, mean.sizes().slice(1), device_);
    const auto x_0 = scale_latents(inputs_.vae_config(), z);
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
    const auto part = [&](const char* name, const Tensor& mask) -> Metric {
      return {name, (errors.detach() * mask).sum() / mask.sum().clamp_min(1), mask.sum()};
    };
    return {errors.mean(), {part("loss_low_noise", low), part("loss_high_noise", 1 - low)}};
  }

  void preview(const PreviewRequest& r, const Control& control) override {
    const at::InferenceMode inference;
    const auto& vae = inputs_.vae();
    const auto f = vae.config.factor();
    const auto side = [&](int64_t asked) { return asked ? asked / f : model_->info().default_size; };
    std::vector<Tensor> first;
    for (const auto seed : r.seeds)
      first.push_back(initial_latents(seed, vae.config.latent_channels, side(r.height), side(r.width), at::kFloat));
    const auto rows = at::tensor(r.texts, at::kLong).to(device_);
    const Conditioning text{text_rows(rows), text_rows(at::zeros_like(rows))};
    const auto latents = denoise(*model_, at::cat(first, 0).to(device_), text, sampling_schedule(scheduler_, r.steps),
                                 {r.guidance}, control);
    emit_images(vae, latents, {}, control);
  }

  void export_weights(const std::string& path, at::ScalarType dtype) override {
    if (spec_.lora.rank > 0) return save_lora(path, adapted_, spec_.lora);
    std::vector<std::pair<std::string, Tensor>> all;
    each_tensor(*model_, [&](const std::string& name, Tensor& t) { all.emplace_back(name, t.detach().to(dtype)); });
    save_safetensors(path, all, {{"format", "pt"}});
  }

 private:
  Tensor noise_levels(const Draw& draw, const std::vector<int64_t>& samples) const {
    const auto u = spec_.logit_normal()
                       ? at::sigmoid(spec_.logit_mean +
                                     spec_.logit_deviation * draw_normal(draw, samples, {1}, device_).squeeze(1))
                       : draw_uniform(draw, samples, device_);
    return spec_.shifted ? drm::shifted(u, scheduler_.shift) : u;
  }

  TextEmbedding text_rows(const Tensor& rows) const { return model_->embed_text(inputs_.rows(rows)); }

  Tensor predict(const Tensor& x_t, const Tensor& sigma, const Tensor& rows) const {
    VelocityOptions options;
    options.recompute = spec_.gradient_checkpointing;
    return model_->velocity(x_t, sigma * static_cast<double>(scheduler_.num_train_timesteps), text_rows(rows), options);
  }

  FlowSpec spec_;
  at::Device device_;
  SchedulerConfig scheduler_;
  std::shared_ptr<VelocityModel> model_;
  FrozenInputs inputs_;
  std::vector<AdaptedLayer> adapted_;
  NamedTensors parameters_;
};

}  // namespace

std::unique_ptr<FlowObjective> FlowObjective::create(const FlowSpec& spec, uint64_t seed, at::Device device,
                                                     Control& control) {
  return std::make_unique<Flow>(spec, seed, device, control);
}

}  // namespace drm
