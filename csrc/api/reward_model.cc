#include "api/reward_model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <mutex>
#include <optional>

#include "common/stopwatch.h"
#include "flow/scheduler.h"
#include "models/encode_prompts.h"
#include "models/latent_size.h"
#include "models/pass_budget.h"
#include "random/draws.h"
#include "reward/reward_net.h"
#include "runtime/device.h"
#include "vae/autoencoder.h"
#include "vae/vae_keys.h"

namespace drm {
namespace {

class LoadedRewardModel final : public RewardModel, public std::enable_shared_from_this<LoadedRewardModel> {
 public:
  LoadedRewardModel(const RewardSource& source, const LoadOptions& options, Control& control)
      : source_(source), device_(parse_device(options.device)), dtype_(parse_dtype(options.dtype)) {
    const auto& checkpoint = source.checkpoint;
    if (!checkpoint.present()) throw Failure(Code::BadRequest, "[reward] no weights of a reward model were given");
    net_ = make_reward_net(reward_config_of(checkpoint));
    info_.device = device_.str();
    info_.dtype = options.dtype;
    info_.parameters = size_of(net_).parameters;
    info_.weight_bytes = info_.parameters * static_cast<int64_t>(at::elementSize(dtype_));
    info_.layers = net_.backbone->info().layers;
    info_.keep_layers = net_.config.keep_layers;
    info_.latent_channels = net_.backbone->info().in_channels;
    info_.t5_length = net_.config.t5_length;
    info_.size = net_.config.size;
    info_.schedule = training_schedule(read_scheduler_config(source.base.scheduler_config)).timesteps;
    const Stopwatch clock;
    load_reward_net(net_, checkpoint.weights, dtype_, device_, [&](uint64_t done, uint64_t total) {
      control.check();
      control.report({"load", static_cast<int64_t>(done), static_cast<int64_t>(total), clock.seconds()});
    });
  }

  const RewardInfo& info() const override { return info_; }
  std::shared_ptr<const RewardNet> net() const override { return {shared_from_this(), &net_}; }

  std::vector<float> score(const ScoreRequest& r, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    return guarded([&] {
      const at::InferenceMode inference;
      return score_locked(r, control);
    });
  }

 private:
  /// What images and prompts go through before the network sees them.
  struct Frozen {
    Vae vae;
    TextEncoders encoders;
  };

  const Frozen& frozen(Control& control) {
    if (frozen_) return *frozen_;
    const auto& base = source_.base;
    if (!base.vae.present() || !base.text_encoder.present() || !base.text_encoder_2.present())
      throw Failure(Code::BadRequest,
                    "[reward] scoring images needs the base model's VAE and text encoders: expected them, found none; "
                    "name the base with --model");
    Frozen f;
    const auto vae = Weights::open(base.vae.weights, vae_keys);
    f.vae = make_vae(vae_config_of(base.vae.config, vae));
    const auto& backbone = net_.backbone->info();
    if (f.vae.config.latent_channels != backbone.in_channels)
      another_base("latent channels", backbone.in_channels, f.vae.config.latent_channels, vae.description());
    auto plan = plan_text_encoders(base);
    if (!reads_pooled_of(backbone, plan.encoders))
      another_base("pooled embeds of width", backbone.pooled_width, plan.encoders.pooled_width(), "the text encoders");
    const auto check = [&](uint64_t, uint64_t) { control.check(); };
    load_vae(f.vae, vae, at::kFloat, device_, check);
    f.encoders = load_text_encoders(std::move(plan), dtype_, device_, check);
    return frozen_.emplace(std::move(f));
  }

  [[noreturn]] static void another_base(const char* what, int64_t expected, int64_t found, const std::string& where) {
    throw Failure(Code::BadConfig, std::string("[reward] expected ") + std::to_string(expected) + " " + what +
                                       " as the reward model takes, found " + std::to_string(found) + " in " + where +
                                       "; the reward model belongs to another base: name that with --model");
  }

  void check(const ScoreRequest& r) const {
    const auto bad = [](const std::string& what) { throw Failure(Code::BadRequest, "[score] " + what); };
    if (r.prompt_of.size() != r.images.size() || r.samples.size() != r.images.size())
      bad("expected a prompt and a sample number for each of " + std::to_string(r.images.size()) + " images, found " +
          std::to_string(r.prompt_of.size()) + " and " + std::to_string(r.samples.size()));
    for (const auto p : r.prompt_of)
      if (p < 0 || p >= static_cast<int64_t>(r.prompts.size()))
        bad("prompt " + std::to_string(p) + ": expected one of " + std::to_string(r.prompts.size()));
    if (r.timesteps.empty()) bad("timesteps: expected at least one");
    for (const auto t : r.timesteps)
      if (!(t >= 0 && t <= 1000)) bad("timestep: expected 0 to 1000, found " + std::to_string(t));
    if (r.draws < 1 || r.draws > 10000) bad("draws: expected 1 to 10000, found " + std::to_string(r.draws));
  }

  std::vector<float> score_locked(const ScoreRequest& r, Control& control) {
    check(r);
    if (r.images.empty()) return {};
    const Stopwatch clock;
    const auto& f = frozen(control);
    const auto& backbone = net_.backbone->info();
    const auto size = r.size ? r.size : info_.size;
    const auto side = latent_side(backbone, f.vae.config.factor(), size, "[score] size") / backbone.patch_size;
    const auto text = net_.backbone->embed_text(
        encode_prompts(*net_.backbone, f.encoders, r.prompts, info_.t5_length, device_, control));
    const auto at_once = rows_per_pass(PassBudget::Scoring, side * side + text.tokens());
    const auto count = static_cast<int64_t>(r.images.size());
    std::vector<float> scores(r.timesteps.size() * r.images.size());
    for (int64_t begin = 0; begin < count; begin += at_once) {
      control.check();
      const auto end = std::min(count, begin + at_once);
      const auto batch = score_batch(r, f.vae, text, size, begin, end).to(at::kCPU).contiguous();
      const auto* row = batch.const_data_ptr<float>();
      for (size_t t = 0; t < r.timesteps.size(); ++t, row += end - begin) {
        for (int64_t i = 0; i < end - begin; ++i)
          if (!std::isfinite(row[i]))
            throw Failure(Code::NotFinite, "[score] image " + std::to_string(begin + i) + " at timestep " +
                                               c10::str(r.timesteps[t]) + ": expected a finite score, found " +
                                               std::to_string(row[i]) +
                                               "; the reward model's weights are damaged, or try --dtype fp32");
        std::copy(row, row + (end - begin), scores.begin() + static_cast<int64_t>(t) * count + begin);
      }
      control.report({"score", end, count, clock.seconds()});
    }
    return scores;
  }

  /// Scores of the images begin..end, (timesteps, N) fp32.
  Tensor score_batch(const ScoreRequest& r, const Vae& vae, const TextEmbedding& text, int64_t size, int64_t begin,
                     int64_t end) const {
    const auto n = end - begin;
    auto bytes = at::empty({n, size, size, 3}, at::kByte);
    at::parallel_for(0, n, 1, [&](int64_t from, int64_t to) {
      for (auto i = from; i < to; ++i) {
        const auto square = pillow_bicubic(r.images[static_cast<size_t>(begin + i)], size, size);
        if (square.channels != 3)
          throw Failure(Code::BadRequest,
                        "[score] expected RGB images, found one of " + std::to_string(square.channels) + " channels");
        std::copy(square.pixels.begin(), square.pixels.end(), bytes.data_ptr<uint8_t>() + i * size * size * 3);
      }
    });
    const auto slice = [&](const std::vector<int64_t>& all) {
      return std::vector<int64_t>(all.begin() + begin, all.begin() + end);
    };
    const auto samples = slice(r.samples);
    const auto rows = select_rows(text, slice(r.prompt_of));
    const auto p = posterior(encode_moments(vae, image_from_bytes(bytes.to(device_).permute({0, 3, 1, 2}))));
    const auto shape = p.mean.sizes().slice(1).vec();
    std::vector<Tensor> means;
    for (const auto t : r.timesteps) {
      const bool noisy = t > 0 && r.add_noise;
      const auto draws = noisy || r.posterior_sample ? r.draws : 1;
      Tensor sum;
      for (int64_t i = 0; i < draws; ++i) {
        const auto draw = [&](Purpose purpose) {
          return draw_normal({r.seed, Purpose::Evaluation, static_cast<uint32_t>(i), 0, static_cast<uint32_t>(purpose)},
                             samples, shape, device_);
        };
        const auto z = r.posterior_sample ? p.sample(draw(Purpose::Posterior)) : p.mode();
        auto x = scale_latents(vae.config, z).to(at::kFloat);
        const auto timestep = at::full({n}, t, x.options());
        if (noisy) x = add_noise(x, draw(Purpose::Noise), timestep / 1000);
        const auto s = reward(net_, x.to(dtype_), timestep, rows);
        sum = sum.defined() ? sum + s : s;
      }
      means.push_back(sum / static_cast<double>(draws));
    }
    return at::stack(means);
  }

  RewardSource source_;
  at::Device device_;
  at::ScalarType dtype_;
  RewardNet net_;
  std::optional<Frozen> frozen_;
  RewardInfo info_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<RewardModel> RewardModel::load(const RewardSource& source, const LoadOptions& options,
                                               Control& control) {
  return guarded([&] { return std::make_shared<LoadedRewardModel>(source, options, control); });
}

}  // namespace drm
