// fp16: what would overflow is fp32, training scales its loss, and a policy's ratio is 1 as in fp32.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "api/reward_model.h"
#include "check.h"
#include "models/sd3/sd3.h"
#include "optim/loss_scale.h"
#include "text/t5.h"
#include "text/text_keys.h"
#include "train/flow_objective.h"
#include "train/frozen_inputs.h"
#include "train/policy_objective.h"
#include "train/reward_objective.h"
#include "train/vae_objective.h"
#include "training.h"

using namespace drm;
using namespace drm::test;
using at::Tensor;

namespace {

const std::string kGolden = DRM_GOLDEN;
const std::string kModels = kGolden + "/../../models/";

std::string scratch(const std::string& name) {
  return (std::filesystem::temp_directory_path() / ("drm-fp16-" + std::to_string(getpid()) + name)).string();
}

/// Root mean square of the difference over that of `want`.
double distance(const Tensor& got, const Tensor& want) {
  return ((got.to(at::kDouble) - want.to(at::kDouble)).norm() / want.to(at::kDouble).norm()).item<double>();
}

// ---- what overflows ----

T5 small_t5(at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  auto t = make_t5(read_t5_config(kGolden + "/t5/config.json"));
  load_t5(t, Weights::open({kGolden + "/t5/model.safetensors"}, t5_keys()), dtype, at::kCPU);
  return t;
}

TEST(t5s_feed_forward_passes_fp16s_range_and_its_result_does_not) {
  const at::NoGradGuard no_grad;
  const auto ids = at::arange(10).view({1, 10});
  auto exact = small_t5(at::kFloat), half = small_t5(at::kHalf);
  CHECK(distance(t5_forward(half, ids), t5_forward(exact, ids)) < 3e-3);
  for (auto* t : {&exact, &half})
    for (auto& l : t->layers) {
      CHECK_EQ(l.down.weight.scalar_type(), at::kFloat);  // of the fp16 one, too
      l.down.weight.mul_(1e6);
    }
  double largest = 0;
  const Observer look = [&](const std::string&, const Tensor& x) {
    largest = std::max(largest, x.abs().max().item<double>());
  };
  const auto want = t5_forward(exact, ids, {}, &look), got = t5_forward(half, ids);
  CHECK(largest > 65504);
  CHECK_EQ(got.scalar_type(), at::kHalf);
  CHECK(distance(got, want) < 1e-2);
}

TEST(t5s_weights_take_what_is_said_of_them) {
  auto t = make_t5(read_t5_config(kGolden + "/t5/config.json"));
  const auto& c = t.config;
  const auto wo = static_cast<uint64_t>(c.num_layers * c.d_model * c.d_ff);
  CHECK_EQ(bytes_of(wanted_t5(t, at::kHalf), at::kHalf), bytes_of(wanted(t), at::kBFloat16) + 2 * wo);
}

TEST(the_transformers_streams_pass_fp16s_range_and_its_velocity_does_not) {
  const at::NoGradGuard no_grad;
  at::manual_seed(1);
  const auto config = read_mmdit_config(kGolden + "/mmdit/config.json");
  const auto weights = Weights::open({kGolden + "/mmdit/diffusion_pytorch_model.safetensors"}, velocity_keys);
  const auto latent = at::randn({2, config.in_channels, 8, 8}), timestep = at::tensor({900.f, 300.f});
  const auto sequence = at::randn({2, 5, config.joint_attention_dim}),
             pooled = at::randn({2, config.pooled_projection_dim});
  double largest = 0;
  const auto run = [&](at::ScalarType dtype, double more, const Observer* look) {
    Sd3 m(make_mmdit(config));
    load_velocity_model(m, weights, dtype, at::kCPU);
    for (auto& b : m.network().blocks) {
      b.image.ff.out.bias.add_(more);
      const auto d = config.width();
      b.image.ada.bias.narrow(0, 5 * d, d).fill_(1);  // the gate of the feed-forward
    }
    const auto text = m.embed_text({sequence.to(dtype), pooled.to(dtype)});
    VelocityOptions options;
    options.observer = look;
    return m.velocity(latent.to(dtype), timestep, text, options);
  };
  const Observer look = [&](const std::string& name, const Tensor& x) {
    if (name.ends_with(".img")) largest = std::max(largest, x.abs().max().item<double>());
  };
  CHECK(distance(run(at::kHalf, 0, nullptr), run(at::kFloat, 0, nullptr)) < 5e-3);
  const auto got = run(at::kHalf, 6e4, nullptr), want = run(at::kFloat, 6e4, &look);
  CHECK(largest > 65504);
  CHECK_EQ(got.scalar_type(), at::kHalf);
  CHECK(at::isfinite(got).all().item<bool>());
  CHECK(distance(got, want) < 5e-2);
}

// ---- loss scaling ----

TEST(the_scale_moves_as_gradscalers) {
  LossScale s;
  CHECK_EQ(s.value(), 65536.0);
  s.update(false);
  CHECK_EQ(s.value(), 32768.0);
  for (int i = 0; i < 1999; ++i) s.update(true);
  CHECK_EQ(s.value(), 32768.0);
  s.update(false);  // begins the count anew
  CHECK_EQ(s.value(), 16384.0);
  for (int i = 0; i < 2000; ++i) s.update(true);
  CHECK_EQ(s.value(), 32768.0);
  for (int i = 0; i < 1500; ++i) s.update(true);
  std::map<std::string, Tensor> kept;
  for (const auto& [name, t] : s.state()) kept[name] = t;
  LossScale resumed;
  resumed.restore(kept);
  for (int i = 0; i < 500; ++i) resumed.update(true);
  CHECK_EQ(resumed.value(), 65536.0);
  CHECK_EQ(resumed.overflows(), 2);
  for (const double damaged : {0.0, 0.5, -2.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    auto other = kept;
    other["loss_scale.value"] = at::scalar_tensor(damaged, at::kDouble);
    EXPECT_FAILURE(BadFile, ({"loss_scale", "damaged"}), resumed.restore(other));
  }
  CHECK_EQ(resumed.value(), 65536.0);  // a refused state changes nothing
  kept.erase("loss_scale.good_steps");
  EXPECT_FAILURE(KeysMismatch, ({"loss_scale.good_steps"}), resumed.restore(kept));
  while (!s.smallest()) s.update(false);
  CHECK_EQ(s.value(), 1.0);
  for (int i = 0; i < 2000 * 200; ++i) s.update(true);
  CHECK(std::isfinite(static_cast<float>(s.value())));  // it stops growing below fp32's infinity
}

/// The gradient is `slope` through an fp16 number, whose range it may pass; that of step `broken` is infinite.
class Sloped final : public Objective {
 public:
  explicit Sloped(double slope, int64_t broken = -1) : slope_(slope), broken_(broken) {
    weight_ = at::full({3}, 2.0).requires_grad_(true);
  }
  NamedTensors parameters() override { return {{"weight", weight_}}; }
  Loss loss(const TrainBatch&, const StepKey& key) override {
    const auto slope = key.step == broken_ ? std::numeric_limits<double>::infinity() : slope_;
    return {(weight_.to(at::kHalf).to(at::kFloat) * slope).sum(), {{"one", at::ones({})}}};
  }
  void export_weights(const std::string&, at::ScalarType) override {}

 private:
  double slope_;
  int64_t broken_;
  Tensor weight_;
};

TrainerOptions options(const char* dtype) {
  TrainerOptions o;
  o.dtype = dtype;
  o.ema_decay = 0.9;
  return o;
}

const std::vector<TrainBatch> kBatch = [] {
  TrainBatch b;
  b.samples = {0};
  return std::vector{b};
}();

bool skipped(const Metrics& metrics) {
  return std::none_of(metrics.begin(), metrics.end(), [](const auto& m) { return m.name == "grad_norm"; });
}

TEST(a_step_that_overflows_is_skipped_counted_and_halves_the_scale) {
  Control control;
  Trainer t(std::make_unique<Sloped>(5), options("fp16")), exact(std::make_unique<Sloped>(5), options("fp32"));
  // 5 x 65536 and 5 x 32768 and 5 x 16384 pass 65504; 5 x 8192 does not.
  for (int64_t i = 0; i < 3; ++i) {
    const auto before = copies(t);
    const auto m = t.step(kBatch, i, 1e-2, control);
    CHECK(skipped(m));
    CHECK_EQ(metric(m, "loss"), 30.0);  // it was finite, and is not scaled
    CHECK_EQ(metric(m, "loss_scale"), 65536.0 / (1 << i));
    CHECK_EQ(metric(m, "overflows"), static_cast<double>(i + 1));
    CHECK(same(before, copies(t)));
  }
  for (int64_t i = 3; i < 6; ++i) {
    const auto m = t.step(kBatch, i, 1e-2, control), e = exact.step(kBatch, i, 1e-2, control);
    CHECK_EQ(metric(m, "loss_scale"), 8192.0);
    CHECK_EQ(metric(m, "overflows"), 3.0);
    CHECK_EQ(metric(m, "grad_norm"), metric(e, "grad_norm"));  // unscaled; 5 is an fp16 number
  }
  CHECK(same(copies(t), copies(exact)));  // AdamW counts steps that were made alone
}

TEST(gradients_too_small_for_fp16_arrive) {
  Control control;
  const double slope = 1e-6;  // times 1/8 below: fp16's smallest number is 6e-8, of few bits
  Trainer t(std::make_unique<Sloped>(slope), options("fp16"));
  const auto norm = metric(t.step(kBatch, 0, 1e-3, control), "grad_norm");
  CHECK(std::abs(norm / (slope * std::sqrt(3.0)) - 1) < 1e-3);
}

TEST(a_resumed_run_has_the_scale_to_the_bit) {
  Control control;
  const auto file = scratch("resume.safetensors");
  Trainer whole(std::make_unique<Sloped>(5, 4), options("fp16"));
  for (int64_t i = 0; i < 4; ++i) whole.step(kBatch, i, 1e-2, control);
  whole.save(file);
  Trainer resumed(std::make_unique<Sloped>(5, 4), options("fp16"));
  resumed.restore(file);
  for (int64_t i = 4; i < 8; ++i) {
    const auto a = whole.step(kBatch, i, 1e-2, control), b = resumed.step(kBatch, i, 1e-2, control);
    for (const auto* name : {"loss_scale", "overflows"}) CHECK_EQ(metric(a, name), metric(b, name));
    CHECK_EQ(skipped(a), i == 4);
  }
  CHECK(same(copies(whole), copies(resumed)));
  Trainer other(std::make_unique<Sloped>(5, 4), options("fp32"));
  other.save(file);
  EXPECT_FAILURE(KeysMismatch, ({"loss_scale.value"}), resumed.restore(file));
  std::filesystem::remove(file);
}

TEST(a_scale_that_collapses_is_an_error_with_advice) {
  Control control;
  Trainer t(std::make_unique<Sloped>(std::numeric_limits<double>::quiet_NaN()), options("fp16"));
  const auto before = copies(t);
  for (int64_t i = 0; i < 16; ++i) CHECK(skipped(t.step(kBatch, i, 1e-2, control)));
  for (int again = 0; again < 2; ++again)
    EXPECT_FAILURE(NotFinite, ({"step 16", "smallest loss scale", "16 skipped steps", "bf16 or fp32", "learning rate"}),
                   t.step(kBatch, 16, 1e-2, control));
  CHECK(same(before, copies(t)));
}

// ---- the objectives ----

TEST(a_reward_model_learns_in_fp16_as_in_fp32) {
  Control control;
  const auto trained = [&](const char* dtype) {
    RewardSpec s;
    s.source = small_pipeline();
    s.keep_layers = 2;
    s.head_channels = 8;
    s.head_groups = 4;
    s.head_hidden = 12;
    s.t5_length = 4;
    const auto type = std::string(dtype) == "fp16" ? at::kHalf : at::kFloat;
    auto objective = RewardObjective::create(s, 3, type, at::kCPU, control);
    objective->inputs().cache_prompts(prompts(2), control);
    Trainer t(std::move(objective), options(dtype));
    TrainBatch b;
    b.height = b.width = 32;
    b.samples = {0, 1};
    b.texts = {0, 1};
    b.images = {0, 2, 1, 3};
    for (int64_t i = 0; i < 4 * 32 * 32 * 3; ++i) b.pixels.push_back(static_cast<uint8_t>((i * 7919) >> 3));
    std::vector<double> losses;
    for (int64_t i = 0; i < 12; ++i) losses.push_back(metric(t.step({b}, 0, 1e-3, control), "loss"));
    return losses;
  };
  const auto half = trained("fp16"), exact = trained("fp32");
  CHECK(std::abs(half.front() - exact.front()) < 5e-3);
  CHECK(half.back() < half.front() - 0.02);
}

TEST(vae_and_flow_learn_in_fp16) {
  Control control;
  TrainBatch b;
  b.height = b.width = 64;
  b.samples = {0, 1};
  b.texts = {1, 2};
  for (int64_t i = 0; i < 2 * 64 * 64 * 3; ++i) b.pixels.push_back(static_cast<uint8_t>((i * 7919) >> 3));
  const auto first_and_last = [&](std::unique_ptr<Objective> objective, double rate) {
    Trainer t(std::move(objective), options("fp16"));
    std::vector<double> losses;
    for (int64_t i = 0; i < 10; ++i) losses.push_back(metric(t.step({b}, 0, rate, control), "loss"));
    return std::pair{losses.front(), losses.back()};
  };
  const auto vae =
      first_and_last(vae_objective({kPipeline + "vae/config.json", {}, 1, 1, 0.5, 1e-3}, 3, at::kCPU), 3e-3);
  CHECK(vae.second < vae.first);
  FlowSpec spec;
  spec.source = small_pipeline();
  spec.t5_length = 4;
  auto flow = FlowObjective::create(spec, 1, at::kCPU, control);
  flow->inputs().cache_prompts(prompts(3), control);
  const auto learned = first_and_last(std::move(flow), 3e-3);
  CHECK(learned.second < learned.first);
}

TEST(before_the_first_update_the_ratio_is_1_exactly_in_fp16) {
  for (const int64_t k : {1, 3}) {
    PolicySpec s;
    s.source = pipeline_at(kModels + "tiny/");
    s.t5_length = 0;
    s.denoising_steps = 3;
    s.guidance = 3;
    s.size = 32;
    s.lora.rank = 4;
    s.lora.alpha = 8;
    s.kl_beta = 0.01;
    Control control;
    auto made = PolicyObjective::create(s, 3, at::kHalf, at::kCPU, control);
    auto* policy = made.get();
    Trainer t(std::move(made), options("fp16"));
    RolloutRequest r;
    PromptTokens p;
    p.clip_l.assign(24, 5);
    p.clip_g.assign(24, 9);
    r.prompts = {p};
    r.negative = p;
    r.prompt_of = {0, 0};
    r.samples = r.latents = {0, 1};
    r.k = k;
    r.until = 2;
    r.continuation = "first";
    const auto reward = [] {
      Control own;
      LoadOptions half;
      half.dtype = "fp16";
      return RewardModel::load({{kModels + "tiny-drm/config.json", {kModels + "tiny-drm/model.safetensors"}}, {}}, half,
                               own);
    }();
    r.rewards = {{reward->net(), 1}};
    const auto rolled = policy->rollout(r, control);
    for (const auto score : rolled.scores[0]) CHECK(std::isfinite(score));
    std::vector<TrainBatch> all;
    for (int64_t j = 0; j < 2; ++j) {
      TrainBatch b;
      b.samples = {0, 1};
      b.step = j;
      for (int64_t i = 0; i < 2 * k; ++i) b.advantages.push_back(i % 2 ? 1.f : -1.f);
      all.push_back(b);
    }
    for (const auto& b : all) CHECK_EQ(policy->ratio_error(b), 0.0);
    int64_t made_steps = 0;
    for (int64_t i = 0; i < 6; ++i) made_steps += !skipped(t.step(all, i, 1e-2, control));
    CHECK(made_steps > 0);
    CHECK(policy->ratio_error(all[0]) > 1e-6);
  }
}

}  // namespace

DRM_TEST_MAIN
