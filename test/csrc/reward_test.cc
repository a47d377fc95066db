// Reward models: training by preferences, the files it writes, and scoring images with them.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "api/reward_model.h"
#include "check.h"
#include "reward/reward_net.h"
#include "tensor_io/safetensors.h"
#include "train/frozen_inputs.h"
#include "train/reward_objective.h"
#include "train/trainer.h"
#include "training.h"

using namespace drm;
using namespace drm::test;
using at::Tensor;

namespace {

constexpr int64_t kEdge = 64;

RewardSpec small() {
  RewardSpec s;
  s.source = small_pipeline();
  s.keep_layers = 2;
  s.head_channels = 8;
  s.head_groups = 4;
  s.head_hidden = 12;
  s.head_dropout = 0.2;
  s.t5_length = 4;
  return s;
}

/// Light images are the chosen ones, dark ones the rejected.
std::vector<uint8_t> pixels_of(int64_t image) {
  std::vector<uint8_t> all;
  const int64_t light = image % 2 ? 40 : 160;
  for (int64_t p = 0; p < kEdge * kEdge * 3; ++p)
    all.push_back(static_cast<uint8_t>(light + ((image * 57 + p * 7919) >> 3) % 60));
  return all;
}

TrainBatch pairs(int64_t first, int64_t count) {
  TrainBatch b;
  b.height = b.width = kEdge;
  for (int64_t i = first; i < first + count; ++i) {
    b.samples.push_back(i);
    b.texts.push_back(i % 2);
  }
  for (const int64_t side : {0, 1})
    for (const auto i : b.samples) {
      b.images.push_back(2 * i + side);
      const auto bytes = pixels_of(2 * i + side);
      b.pixels.insert(b.pixels.end(), bytes.begin(), bytes.end());
    }
  return b;
}

TrainerOptions options() {
  TrainerOptions o;
  o.seed = 3;
  o.weight_decay = 1e-4;
  return o;
}

std::unique_ptr<RewardObjective> objective(const RewardSpec& spec = small()) {
  Control control;
  auto r = RewardObjective::create(spec, 1, at::kFloat, device(), control);
  r->inputs().cache_prompts(prompts(2), control);
  return r;
}

double furthest(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, (a[i] - b[i]).abs().max().item<double>());
  return most;
}

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / "drm-reward-test";
  Folder() {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
};

void write_config(const std::string& path, int64_t keep_layers = 2) {
  std::ifstream backbone(kPipeline + "transformer/config.json");
  std::ofstream(path) << R"({"_class_name": "DiffusionRewardModel", "keep_layers": )" << keep_layers
                      << R"(, "head": {"channels": 8, "groups": 4, "hidden": 12}, "t5_length": 4, "size": 64,)"
                      << R"( "backbone": )" << backbone.rdbuf() << "}";
}

ScoreRequest request(const std::vector<int64_t>& images, double timestep = 0) {
  ScoreRequest r;
  r.prompts = prompts(2);
  r.timesteps = {timestep};
  r.seed = 5;
  for (const auto p : images) {
    r.images.push_back({pixels_of(p), kEdge, kEdge, 3});
    r.prompt_of.push_back((p / 2) % 2);
    r.samples.push_back(p);
  }
  return r;
}

}  // namespace

TEST(preferences_are_learned) {
  // The fixtures' VAE is random: its posterior is as wide as its means, and high noise leaves nothing to see.
  auto spec = small();
  spec.posterior_sample = false;
  spec.logit_mean = 4;
  Trainer t(objective(spec), options());
  Control control;
  const auto held_out = pairs(100, 8);
  const double before = metric(t.evaluate(held_out), "loss");
  for (int64_t i = 0; i < 60; ++i) t.step({pairs(4 * i, 4)}, i, 1e-3, control);
  const auto after = t.evaluate(held_out);
  CHECK(metric(after, "loss") < 0.7 * before);
  CHECK(metric(after, "accuracy") >= 0.75);
}

TEST(the_loss_is_that_of_the_likelihood_that_was_asked_for) {
  const auto told = [](const auto& change) {
    auto spec = small();
    change(spec);
    return Trainer(objective(spec), options()).evaluate(pairs(0, 1));
  };
  const auto plain = told([](RewardSpec&) {});
  const auto margin = metric(plain, "margin");
  CHECK(std::abs(metric(plain, "loss") - std::log1p(std::exp(-margin))) < 1e-6);
  const auto thurstone = [&](double noise) {
    return told([&](RewardSpec& s) {
      s.likelihood = "thurstone";
      s.score_variance = 0.3;
      s.score_variance_noise = noise;
    });
  };
  const auto clean = thurstone(0), noisy = thurstone(2);
  CHECK_EQ(metric(clean, "margin"), margin);
  CHECK(std::abs(metric(clean, "loss") + std::log(std::erfc(-margin / std::sqrt(4 * 0.3)) / 2)) < 1e-6);
  CHECK(std::abs(metric(noisy, "loss") - std::log(2.0)) < std::abs(metric(clean, "loss") - std::log(2.0)));
}

TEST(accuracy_by_timestep_counts_only_pairs_that_are_there) {
  Trainer t(objective(), options());
  const auto all = t.evaluate(pairs(0, 6));
  double weight = 0, right = 0;
  for (const auto& m : all)
    if (m.name.starts_with("accuracy_t")) {
      CHECK(m.weight >= 1);
      weight += m.weight;
      right += m.weight * m.value;
    }
  CHECK_EQ(weight, 6.0);
  CHECK(std::abs(right / 6 - metric(all, "accuracy")) < 1e-6);
}

TEST(micro_batches_and_order_do_not_matter) {
  Control control;
  Trainer whole(objective(), options()), parts(objective(), options());
  whole.step({pairs(0, 4)}, 0, 1e-3, control);
  parts.step({pairs(2, 2), pairs(0, 2)}, 0, 1e-3, control);
  CHECK(furthest(copies(whole), copies(parts)) < 1e-4);  // Adam's first step is lr-sized: far below it
}

TEST(cached_latents_and_prompts_encoded_now_train_as_cached_prompts_and_images_do) {
  Control control;
  Trainer plain(objective(), options());
  auto owned = objective();
  auto batch = pairs(0, 4);
  owned->inputs().cache_latents(batch);
  Trainer cached(std::move(owned), options());
  auto now = RewardObjective::create(small(), 1, at::kFloat, device(), control);  // encoders kept
  Trainer encoding(std::move(now), options());
  plain.step({batch}, 0, 1e-3, control);
  auto without_pixels = batch;
  without_pixels.pixels.clear();
  cached.step({without_pixels}, 0, 1e-3, control);
  auto with_prompts = batch;
  for (const auto row : batch.texts) with_prompts.prompts.push_back(prompts(2)[static_cast<size_t>(row)]);
  encoding.step({with_prompts}, 0, 1e-3, control);
  CHECK(same(copies(plain), copies(cached)));
  CHECK(furthest(copies(plain), copies(encoding)) < 1e-4);
}

TEST(resumed_is_uninterrupted) {
  const Folder folder;
  Control control;
  Trainer whole(objective(), options()), resumed(objective(), options());
  for (int64_t i = 0; i < 4; ++i) {
    whole.step({pairs(4 * i, 4)}, i, 1e-3, control);
    if (i == 1) whole.save(folder.file("state.safetensors"));
  }
  resumed.restore(folder.file("state.safetensors"));
  for (int64_t i = 2; i < 4; ++i) resumed.step({pairs(4 * i, 4)}, i, 1e-3, control);
  CHECK(same(copies(whole), copies(resumed)));
}

TEST(recomputation_gives_the_same_step) {
  Control control;
  auto spec = small();
  spec.gradient_checkpointing = true;
  Trainer plain(objective(), options()), recomputed(objective(spec), options());
  const auto a = plain.step({pairs(0, 4)}, 0, 1e-3, control), b = recomputed.step({pairs(0, 4)}, 0, 1e-3, control);
  for (const char* name : {"loss", "grad_norm"}) CHECK(std::abs(metric(a, name) - metric(b, name)) < 1e-5);
}

TEST(shared_noise_hides_no_difference_between_equal_images) {
  // Two times the same image with the same noise: the scores are equal, which counts as wrong.
  auto spec = small();
  spec.shared_noise = true;
  spec.posterior_sample = false;
  Trainer t(objective(spec), options());
  auto batch = pairs(0, 2);
  std::copy(batch.pixels.begin(), batch.pixels.begin() + 2 * kEdge * kEdge * 3,
            batch.pixels.begin() + 2 * kEdge * kEdge * 3);
  const auto m = t.evaluate(batch);
  CHECK_EQ(metric(m, "margin"), 0.0);
  CHECK_EQ(metric(m, "accuracy"), 0.0);
}

TEST(adapters_or_the_head_alone_leave_the_backbone) {
  Control control;
  auto lora = small();
  lora.backbone = "lora";
  lora.lora = LoraConfig{2, 4, {"attn.to_q", "attn.to_v"}};
  auto head = small();
  head.backbone = "frozen";
  for (const auto& spec : {lora, head}) {
    Trainer t(objective(spec), options());
    for (const auto& [name, p] : t.objective().parameters())
      CHECK(name.starts_with("reward_output.") || name.find(".lora_") != std::string::npos);
    const auto before = copies(t);
    t.step({pairs(0, 4)}, 0, 1e-2, control);
    CHECK(!same(before, copies(t)));
  }
}

TEST(both_layouts_score_alike_and_training_goes_on_from_either) {
  const Folder folder;
  Control control;
  auto spec = small();
  spec.backbone = "lora";  // merged when written
  spec.lora = LoraConfig{2, 4, {"attn.to_q", "attn.to_v"}};
  auto owned = objective(spec);
  auto& reward = *owned;
  Trainer t(std::move(owned), options());
  for (int64_t i = 0; i < 3; ++i) t.step({pairs(0, 4)}, i, 1e-2, control);
  t.export_weights(folder.file("kept.safetensors"), "fp32");
  reward.export_as_authors(folder.file("authors.safetensors"), at::kFloat);
  write_config(folder.file("config.json"));

  const auto names = SafetensorsFile::open(folder.file("authors.safetensors"))->tensors();
  CHECK(names.count("transformer.transformer_blocks.2.attn.to_q.weight") == 1);
  CHECK(names.count("transformer.transformer_blocks.1.ff_context.net.2.weight") == 1);
  std::vector<std::vector<float>> scores;
  for (const char* file : {"kept.safetensors", "authors.safetensors"}) {
    const ComponentFiles checkpoint{folder.file("config.json"), {folder.file(file)}};
    scores.push_back(RewardModel::load({checkpoint, small_pipeline()}, {device_name()}, control)
                         ->score(request({0, 1, 2, 3}, 400), control));
    auto more = small();
    more.checkpoint = checkpoint;
    Trainer on(objective(more), options());
    CHECK(metric(on.step({pairs(0, 2)}, 0, 1e-3, control), "loss") > 0);
  }
  CHECK(scores[0] == scores[1]);
}

TEST(scores_depend_on_the_image_alone) {
  const Folder folder;
  Control control;
  Trainer t(objective(), options());
  t.export_weights(folder.file("model.safetensors"), "fp32");
  write_config(folder.file("config.json"));
  const auto model = RewardModel::load(
      {{folder.file("config.json"), {folder.file("model.safetensors")}}, small_pipeline()}, {device_name()}, control);
  CHECK_EQ(model->info().keep_layers, 2);
  const auto together = model->score(request({0, 1, 2}, 500), control);
  const auto alone = model->score(request({2}, 500), control);
  CHECK(std::abs(together[2] - alone[0]) < 1e-5f);
  auto several = request({0, 1, 2}, 500);
  several.timesteps = {500, 0, 900};
  const auto rows = model->score(several, control);
  CHECK_EQ(rows.size(), 9u);
  for (size_t t = 0; t < 3; ++t) {
    const auto row = model->score(request({0, 1, 2}, several.timesteps[t]), control);
    CHECK(std::equal(row.begin(), row.end(), rows.begin() + static_cast<int64_t>(3 * t)));
  }
  auto drawn = request({2}, 500);
  drawn.draws = 3;
  CHECK(model->score(drawn, control)[0] != alone[0]);
  auto clean = request({2});
  const auto once = model->score(clean, control)[0];
  clean.draws = 7;
  CHECK_EQ(model->score(clean, control)[0], once);
}

TEST(a_latent_may_stay_clean_whatever_timestep_the_network_is_told) {
  const Folder folder;
  Control control;
  Trainer t(objective(), options());
  t.export_weights(folder.file("model.safetensors"), "fp32");
  write_config(folder.file("config.json"));
  const auto model = RewardModel::load(
      {{folder.file("config.json"), {folder.file("model.safetensors")}}, small_pipeline()}, {}, control);
  // The table of SD3.5's shift 3 from its end: entry n is 1000 * 3 s / (1 + 2 s) with s = n / 1000.
  const auto& schedule = model->info().schedule;
  CHECK_EQ(schedule.size(), size_t{1000});
  CHECK_EQ(schedule[1000 - 500], 750.0f);
  CHECK_EQ(schedule[1000 - 750], 900.0f);
  CHECK_EQ(schedule[0], 1000.0f);

  auto told = request({2}, schedule[500]);
  const auto noisy = model->score(told, control)[0];
  told.add_noise = false;
  const auto clean = model->score(told, control)[0];
  CHECK(clean != noisy);
  CHECK(clean != model->score(request({2}, 0), control)[0]);  // the network is told another timestep
  told.seed += 1;
  told.draws = 3;
  CHECK_EQ(model->score(told, control)[0], clean);  // nothing is drawn
  told.posterior_sample = true;
  CHECK(model->score(told, control)[0] != clean);
}

TEST(what_does_not_fit_is_named) {
  const Folder folder;
  Control control;
  auto spec = small();
  spec.keep_layers = 9;
  EXPECT_FAILURE(BadConfig, ({"keep_layers", "9"}), RewardObjective::create(spec, 1, at::kFloat, device(), control));
  spec = small();
  spec.head_channels = 6;
  EXPECT_FAILURE(BadConfig, ({"head.channels", "6"}), RewardObjective::create(spec, 1, at::kFloat, device(), control));

  Trainer t(objective(), options());
  auto odd = pairs(0, 2);
  odd.images.pop_back();
  EXPECT_FAILURE(BadRequest, ({"two images a pair"}), t.step({odd}, 0, 1e-3, control));
  t.export_weights(folder.file("model.safetensors"), "fp32");
  write_config(folder.file("config.json"), 3);
  EXPECT_FAILURE(KeysMismatch, ({"add_q_proj", "missing"}),
                 RewardModel::load({{folder.file("config.json"), {folder.file("model.safetensors")}}, small_pipeline()},
                                   {device_name()}, control));
  EXPECT_FAILURE(
      BadFile, ({"reward_output"}),
      RewardModel::load({{"", small_pipeline().transformer.weights}, small_pipeline()}, {device_name()}, control));
}

DRM_TEST_MAIN
