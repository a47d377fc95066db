#include "train/reward_objective.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "flow/scheduler.h"
#include "flow/timesteps.h"
#include "lora/adapter.h"
#include "nn/initialize.h"
#include "random/draws.h"
#include "reward/bradley_terry.h"
#include "reward/reward_net.h"
#include "reward/thurstone.h"
#include "tensor_io/safetensors.h"
#include "train/frozen_inputs.h"
#include "train/trainable.h"

namespace drm {
namespace {

RewardConfig config_of(const RewardSpec& spec) {
  if (spec.checkpoint.present()) return reward_config_of(spec.checkpoint);
  RewardConfig c;
  c.backbone = velocity_config_of(spec.source.transformer);
  c.keep_layers = spec.keep_layers;
  c.head = {spec.head_channels, spec.head_groups, spec.head_hidden, spec.head_dropout};
  return c;
}

/// The scheduler's table of training levels, or the one without its shift.
Schedule levels_of(const RewardSpec& spec) {
  auto config = read_scheduler_config(spec.source.scheduler_config);
  if (!spec.shifted) config.shift = 1;
  return training_schedule(config);
}

/// Accuracy is logged by timestep in this many equal parts: what a model cannot tell at high noise would else hide.
constexpr int64_t kBuckets = 4;

class Reward final : public RewardObjective {
 public:
  Reward(const RewardSpec& spec, uint64_t seed, at::ScalarType dtype, at::Device device, Control& control)
      : spec_(spec),
        device_(device),
        levels_(levels_of(spec)),
        net_(make_reward_net(config_of(spec))),
        inputs_(spec.source, spec.t5_length, net_.backbone, dtype, device, control) {
    auto generator = seeded_generator(seed);
    if (spec.checkpoint.present()) {
      load_reward_net(net_, spec.checkpoint.weights, at::kFloat, device);
    } else {
      if (spec.source.transformer.present())
        load_velocity_model(*net_.backbone, Weights::open(spec.source.transformer.weights, velocity_keys), at::kFloat,
                            device);
      else
        net_.backbone->initialize(generator);
      initialize(net_.head, generator);
      if (!spec.source.transformer.present()) initialize_output(generator);
    }
    const auto& backbone = net_.backbone->info();
    if (!inputs_.fit())
      throw Failure(
          Code::BadConfig,
          "[reward] expected a backbone of " + std::to_string(inputs_.vae_config().latent_channels) +
              " latent channels and pooled embeds of width " + std::to_string(inputs_.encoders().pooled_width()) +
              " as the base's VAE and text encoders have them, found " + std::to_string(backbone.in_channels) +
              " and " + std::to_string(backbone.pooled_width) + "; the reward model belongs to another base");
    choose_parameters(generator);
  }

  NamedTensors parameters() override { return parameters_; }
  FrozenInputs& inputs() override { return inputs_; }

  Loss loss(const TrainBatch& batch, const StepKey& key) override {
    require_pairs(batch, "reward");
    const auto [mean, deviation] = inputs_.posterior_of(batch);
    const auto shape = mean.sizes().slice(1);
    auto z = mean;
    if (spec_.posterior_sample) z = z + deviation * both_sides(key, Purpose::Posterior, batch, shape);
    const auto x_0 = scale_latents(inputs_.vae_config(), z);
    const auto u = draw_uniform(draw(key, Purpose::Timestep, 0), batch.samples, device_);
    const auto levels =
        look_up_levels(levels_, distribute({spec_.logit_normal(), spec_.logit_mean, spec_.logit_deviation}, u));
    const auto x_t = add_noise(x_0, both_sides(key, Purpose::Noise, batch, shape), twice(levels.sigma));
    const auto text = net_.backbone->embed_text(inputs_.prompts_of(batch));

    TrainingOptions options;
    options.recompute = spec_.gradient_checkpointing;
    if (const auto p = net_.config.head.dropout; p > 0 && !key.evaluation) {
      const auto kept = both_sides(key, Purpose::Dropout, batch, {net_.config.head.hidden}).ge(p);
      options.dropout = kept.to(at::kFloat) / (1 - p);
    }
    const auto [chosen, rejected] =
        reward_of_pairs(net_, x_t, twice(levels.timestep), join_rows({text, text}), options);
    const auto right = preferred(chosen, rejected).detach();
    const auto losses =
        spec_.likelihood == "thurstone"
            ? thurstone_loss(chosen, rejected, levels.sigma, {spec_.score_variance, spec_.score_variance_noise})
            : preference_loss(chosen, rejected);
    Loss l{losses.mean(), {{"accuracy", right.mean()}, {"margin", (chosen - rejected).mean().detach()}}};
    const auto width = 1000 / kBuckets;
    const auto bucket = levels.timestep.div(static_cast<double>(width)).floor().clamp(0, kBuckets - 1);
    for (int64_t i = 0; i < kBuckets; ++i) {
      const auto here = bucket.eq(static_cast<double>(i)).to(at::kFloat);
      l.metrics.push_back({"accuracy_t" + std::to_string(i * width) + "_" + std::to_string((i + 1) * width),
                           (right * here).sum() / here.sum().clamp_min(1), here.sum()});
    }
    return l;
  }

  void export_weights(const std::string& path, at::ScalarType dtype) override { write(path, dtype, {}); }

  void export_as_authors(const std::string& path, at::ScalarType dtype) override {
    const auto& files =
        spec_.source.transformer.present() ? spec_.source.transformer.weights : spec_.checkpoint.weights;
    if (files.empty())
      throw Failure(Code::BadRequest,
                    "[reward] the authors' layout holds the base's skipped blocks too: expected weights of a base, "
                    "found a backbone that began from random ones; export our own layout instead");
    const auto base = Weights::open(files, velocity_keys);
    NamedTensors skipped;
    for (const auto& [key, entry] : base.entries())
      if (net_.backbone->is_left_out(key)) skipped.emplace_back("transformer." + key, entry.load(dtype, at::kCPU));
    if (skipped.empty() && net_.config.keep_layers < net_.backbone->info().layers)
      throw Failure(Code::BadRequest,
                    "[reward] the authors' layout holds the base's skipped blocks too: expected them "
                    "in " +
                        base.description() + ", found none; name the base with --model");
    write(path, dtype, std::move(skipped));
  }

 private:
  /// DiT's scheme begins with an output of zeros, which would leave a head nothing to see and its gradient nothing to
  /// pass: a reward model from random weights has an output layer like any other.
  void initialize_output(at::Generator generator) { initialize_leaf(net_.backbone->output_layer(), generator); }

  void choose_parameters(at::Generator generator) {
    const bool lora = spec_.backbone == "lora", frozen = spec_.backbone != "full";
    if (frozen) each_tensor(*net_.backbone, [&](const std::string&, Tensor& t) { t = t.to(device_); });
    if (lora) {
      adapted_ = find_targets(*net_.backbone, spec_.lora.targets);
      add_lora(adapted_, spec_.lora, generator);
      for (auto& [name, t] : lora_tensors(adapted_)) parameters_.emplace_back("transformer." + name, t);
      for (auto& [name, t] : parameters_) t.requires_grad_(true);
    } else if (!frozen) {
      for (auto& [name, t] : trainable(*net_.backbone, device_)) parameters_.emplace_back("transformer." + name, t);
    }
    for (auto& [name, t] : trainable(net_.head, device_))
      // The last bias shifts both scores alike: its gradient is rounding noise, which Adam would turn into drift.
      if (name != "mlp.3.bias")
        parameters_.emplace_back("reward_output." + name, t);
      else
        t.requires_grad_(false);
  }

  static Draw draw(const StepKey& key, Purpose purpose, uint32_t side) {
    const auto step = static_cast<uint32_t>(key.step);
    // Held-out figures use one stream for all their numbers, told apart by the candidate index.
    if (key.evaluation) return {key.seed, Purpose::Evaluation, step, 0, 2 * static_cast<uint32_t>(purpose) + side};
    return {key.seed, purpose, step, 0, side};
  }

  /// Draws for the chosen of all pairs, then for the rejected: normal numbers, or uniform ones for dropout.
  Tensor both_sides(const StepKey& key, Purpose purpose, const TrainBatch& batch, at::IntArrayRef shape) const {
    const auto one = [&](uint32_t side) {
      const auto d = draw(key, purpose, side);
      return purpose == Purpose::Dropout ? draw_uniform(d, batch.samples, device_, shape)
                                         : draw_normal(d, batch.samples, shape, device_);
    };
    const auto chosen = one(0);
    return at::cat({chosen, purpose == Purpose::Noise && spec_.shared_noise ? chosen : one(1)}, 0);
  }

  static Tensor twice(const Tensor& t) { return at::cat({t, t}, 0); }

  void write(const std::string& path, at::ScalarType dtype, NamedTensors all) {
    const at::NoGradGuard no_grad;
    each(net_, [&](const std::string& name, auto& leaf) {
      each_tensor(name, leaf, [&](const std::string& key, Tensor& t) {
        auto value = t.detach();
        if constexpr (std::is_same_v<std::decay_t<decltype(leaf)>, Linear>)
          if (&t == &leaf.weight)
            for (const auto& adapter : leaf.lora) value = value + lora_delta(adapter);
        all.emplace_back(key, value.to(dtype).contiguous());
      });
    });
    save_safetensors(path, all, {{"format", "pt"}});
  }

  RewardSpec spec_;
  at::Device device_;
  Schedule levels_;
  RewardNet net_;
  FrozenInputs inputs_;
  std::vector<AdaptedLayer> adapted_;
  NamedTensors parameters_;
};

}  // namespace

std::unique_ptr<RewardObjective> RewardObjective::create(const RewardSpec& spec, uint64_t seed, at::ScalarType dtype,
                                                         at::Device device, Control& control) {
  return std::make_unique<Reward>(spec, seed, dtype, device, control);
}

}  // namespace drm
