// A base that nothing outside of test/ knows, through everything that a base goes through: sampled, trained by flow
// matching and with a reward head, guided by that reward, fine-tuned by LoRA under both algorithms.
#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>

#include "api/pipeline.h"
#include "api/reward_model.h"
#include "api/training.h"
#include "check.h"
#include "plain_dit.h"
#include "tensor_io/safetensors.h"
#include "training.h"

using namespace drm;
namespace fs = std::filesystem;

namespace {

const std::string kTiny = std::string(DRM_GOLDEN) + "/../../models/tiny/";
constexpr int64_t kTokens = 24;

/// A folder with a random model of the second kind, around the embedded model's VAE and text encoders.
struct SecondBase {
  std::string folder = (fs::temp_directory_path() / ("drm-second-base-" + std::to_string(::getpid()))).string() + "/";
  PipelineSource source = test::pipeline_at(kTiny);

  SecondBase() {
    add_architecture(test::plain_dit_architecture());
    fs::create_directories(folder);
    test::PlainDiTConfig c;
    c.text_width = 128;
    write("config.json", test::plain_dit_json(c));
    source.transformer = {folder + "config.json", {folder + "weights.safetensors"}};
    const auto model = velocity_config_of(source.transformer).plan(0);
    model->initialize(at::make_generator<at::CPUGeneratorImpl>(5));
    std::vector<std::pair<std::string, at::Tensor>> all;
    each_tensor(*model, [&](const std::string& name, at::Tensor& t) { all.emplace_back(name, t); });
    save_safetensors(source.transformer.weights[0], all);
  }
  ~SecondBase() { fs::remove_all(folder); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder + name) << text; }
};

SecondBase& base() {
  static SecondBase one;
  return one;
}

PromptTokens tokens(int64_t seed) {
  PromptTokens p;
  p.clip_l.assign(kTokens, 5 + seed);
  p.clip_g.assign(kTokens, 9 + seed);
  return p;
}

TrainerOptions trainer_options() {
  TrainerOptions o;
  o.device = test::device_name();
  o.seed = 3;
  return o;
}

/// Two pairs of grey images, of which the brighter ones are preferred.
TrainBatch pairs() {
  TrainBatch b;
  b.samples = {0, 1};
  b.images = {0, 1, 2, 3};
  b.height = b.width = 64;
  for (const auto grey : {250, 240, 5, 20}) b.pixels.insert(b.pixels.end(), 64 * 64 * 3, static_cast<uint8_t>(grey));
  b.texts = {0, 1};
  return b;
}

/// A reward model on the second base, trained for some steps, and its files.
RewardSource trained_reward() {
  RewardSpec spec;
  spec.source = base().source;
  spec.keep_layers = 1;
  spec.head_channels = 16;
  spec.head_groups = 4;
  spec.head_hidden = 16;
  spec.t5_length = 0;
  Control control;
  const auto training = Training::create(spec, trainer_options(), nullptr, control);
  training->cache_prompts({tokens(0), tokens(1)}, control);
  double first = 0, last = 0;
  for (int64_t i = 0; i < 30; ++i) {
    last = test::metric(training->step({pairs()}, i, 1e-3, control), "loss");
    if (i == 0) first = last;
  }
  CHECK(last < first);
  const RewardSource reward{{base().folder + "drm.json", {base().folder + "drm.safetensors"}}, base().source};
  training->export_weights(reward.checkpoint.weights[0], "fp32");
  std::ifstream config(base().source.transformer.config);
  const std::string backbone((std::istreambuf_iterator<char>(config)), {});
  base().write("drm.json",
               "{\"_class_name\": \"DiffusionRewardModel\", \"keep_layers\": 1, \"size\": 64, \"t5_length\": 0, "
               "\"head\": {\"channels\": 16, \"groups\": 4, \"hidden\": 16}, \"backbone\": " +
                   backbone + "}");
  return reward;
}

std::shared_ptr<RewardModel> loaded_reward() {
  static const auto reward = [] {
    Control control;
    return RewardModel::load(trained_reward(), {test::device_name()}, control);
  }();
  return reward;
}

SampleRequest request() {
  SampleRequest r;
  r.prompts = {tokens(0), tokens(1)};
  r.negatives = {tokens(2)};
  r.images = {{0, 0, 1}, {1, 0, 2}};
  r.steps = 3;
  r.t5_length = 0;
  return r;
}

/// Pixels of all images.
std::vector<uint8_t> sampled(const SampleRequest& r, const std::vector<LoraUse>& loras = {}) {
  std::vector<uint8_t> pixels;
  Control control;
  control.on_event = [&](Event&& e) { pixels.insert(pixels.end(), e.bytes.begin(), e.bytes.end()); };
  LoadOptions options{test::device_name()};
  options.loras = loras;
  const auto pipeline = Pipeline::load(base().source, options, control);
  CHECK_EQ(pipeline->info().default_size, 64);
  pipeline->sample(r, control);
  CHECK_EQ(pixels.size(), r.images.size() * 64 * 64 * 3);
  return pixels;
}

}  // namespace

TEST(a_second_base_is_sampled_and_reads_its_prompt) {
  const auto one = sampled(request());
  auto other = request();
  other.prompts[0] = tokens(7);
  CHECK(one == sampled(request()));
  CHECK(one != sampled(other));
  auto skipping = request();
  skipping.skip_layers = SkipLayerGuidance{{1}, 2.8, 0, 1};
  CHECK(one != sampled(skipping));
}

TEST(a_second_base_is_trained_by_flow_matching) {
  FlowSpec spec;
  spec.source = base().source;
  spec.t5_length = 0;
  Control control;
  const auto training = Training::create(spec, trainer_options(), nullptr, control);
  training->cache_prompts({tokens(0), tokens(1)}, control);
  TrainBatch b = pairs();
  b.samples = b.images;
  b.images.clear();
  b.texts = {0, 1, 0, 1};
  const auto first = test::metric(training->evaluate(b), "loss");
  for (int64_t i = 0; i < 20; ++i) training->step({b}, i, 2e-3, control);
  CHECK(test::metric(training->evaluate(b), "loss") < first);
}

TEST(a_second_base_carries_a_reward_head_and_is_guided_by_it) {
  ScoreRequest r;
  for (const uint8_t grey : {250, 5}) r.images.push_back({std::vector<uint8_t>(64 * 64 * 3, grey), 64, 64, 3});
  r.prompts = {tokens(0)};
  r.prompt_of = {0, 0};
  r.samples = {0, 1};
  Control control;
  const auto scores = loaded_reward()->score(r, control);
  CHECK(scores[0] > scores[1]);
  auto guided = request();
  guided.stepwise = StepwiseRequest{};
  guided.stepwise->reward = loaded_reward();
  guided.stepwise->k = 3;
  CHECK(sampled(guided) != sampled(request()));
}

TEST(a_second_base_is_fine_tuned_under_both_algorithms) {
  PolicySpec spec;
  spec.source = base().source;
  spec.t5_length = 0;
  spec.denoising_steps = 3;
  spec.lora.rank = 4;
  spec.lora.alpha = 8;
  spec.lora.targets = {"attn.to_q", "attn.to_v"};
  const auto plain = sampled(request());
  for (const int64_t k : {1, 3}) {
    Control control;
    const auto training = PolicyTraining::create(spec, trainer_options(), nullptr, control);
    CHECK_EQ(training->parameters(), 2 * 2 * 2 * 4 * 32);  // blocks, targets, A and B
    RolloutRequest r;
    r.prompts = {tokens(0), tokens(1)};
    r.negative = tokens(2);
    r.prompt_of = {0, 1};
    r.samples = r.latents = {0, 1};
    r.k = k;
    r.until = 2;
    r.rewards = {{loaded_reward()->net(), 1}};
    const auto rollout = training->rollout(r, control);
    CHECK_EQ(rollout.scores[0].size(), static_cast<size_t>(k == 1 ? 2 : 2 * 2 * k));
    std::vector<TrainBatch> batches;
    for (int64_t step = 0; step < 2; ++step) {
      TrainBatch b;
      b.samples = {0, 1};
      b.step = step;
      for (int64_t i = 0; i < 2 * k; ++i) b.advantages.push_back(i % 2 ? 1.0f : -1.0f);
      batches.push_back(std::move(b));
    }
    CHECK_EQ(training->ratio_error(batches, control), 0);
    training->step(batches, 0, 5e-2, control);
    CHECK(training->ratio_error(batches, control) > 0);
    const auto file = base().folder + "lora-" + std::to_string(k) + ".safetensors";
    training->export_weights(file, "fp32");
    CHECK(sampled(request(), {{file, 1}}) != plain);
  }
}

DRM_TEST_MAIN
