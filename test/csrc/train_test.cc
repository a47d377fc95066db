// Training a step at a time: what a resumed run, a cancelled step, another batch split and recomputation promise.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <fstream>

#include "check.h"
#include "nn/autocast.h"
#include "nn/recompute.h"
#include "scorers/registry.h"
#include "tensor_io/safetensors.h"
#include "train/clip_objective.h"
#include "train/flow_objective.h"
#include "train/frozen_inputs.h"
#include "train/scorer_objective.h"
#include "train/trainer.h"
#include "train/vae_objective.h"
#include "training.h"

using namespace drm;
using namespace drm::test;
using at::Tensor;

namespace {

std::string scratch(const std::string& name) {
  return (std::filesystem::temp_directory_path() / ("drm-train-test-" + name + ".safetensors")).string();
}

VaeSpec small_vae() { return {kPipeline + "vae/config.json", {}, 1, 1, 0.5, 1e-3}; }

TrainBatch images(int64_t first, int64_t count, int64_t edge = 16) {
  TrainBatch b;
  b.height = b.width = edge;
  for (int64_t i = first; i < first + count; ++i) {
    b.samples.push_back(i);
    for (int64_t p = 0; p < edge * edge * 3; ++p) b.pixels.push_back(static_cast<uint8_t>((i * 57 + p * 7919) >> 3));
  }
  return b;
}

TrainerOptions options(double ema = 0.9) {
  TrainerOptions o;
  o.seed = 3;
  o.weight_decay = 0.01;
  o.ema_decay = ema;
  return o;
}

std::unique_ptr<Objective> small(const TrainerOptions& o) { return vae_objective(small_vae(), o.seed, device()); }

Trainer vae_trainer(const TrainerOptions& o = options()) { return {small(o), o}; }

void run(Trainer& t, int64_t from, int64_t to) {
  Control control;
  for (int64_t i = from; i < to; ++i) t.step({images(4 * i, 4)}, i, 1e-3, control);
}

/// The fixtures' small pipeline: its transformer from scratch or from its weights.
FlowSpec small_flow(bool from_weights) {
  FlowSpec s;
  s.source = small_pipeline();
  if (!from_weights) s.source.transformer.weights.clear();
  s.t5_length = 4;  // T5 left out: four rows of zeros
  return s;
}

TrainBatch with_texts(TrainBatch b) {
  for (const auto sample : b.samples) b.texts.push_back(1 + sample % 2);
  return b;
}

}  // namespace

TEST(training_lowers_the_loss) {
  auto t = vae_trainer();
  Control control;
  const auto batch = images(0, 4);
  const double before = metric(t.step({batch}, 0, 3e-3, control), "loss");
  double after = before;
  for (int64_t i = 1; i < 60; ++i) after = metric(t.step({batch}, i, 3e-3, control), "loss");
  CHECK(after < 0.8 * before);
}

TEST(resumed_is_uninterrupted_and_weights_alone_are_not) {
  const auto file = scratch("resume"), weights = scratch("weights");
  auto whole = vae_trainer();
  run(whole, 0, 3);
  whole.save(file);
  whole.export_weights(weights, "fp32");
  run(whole, 3, 6);

  auto resumed = vae_trainer();
  resumed.restore(file);
  run(resumed, 3, 6);
  CHECK(same(copies(whole), copies(resumed)));
  const auto file_a = scratch("a"), file_b = scratch("b");
  whole.save(file_a);
  resumed.save(file_b);
  const auto bytes = [](const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  CHECK(bytes(file_a) == bytes(file_b));  // moments, step counts and averages too

  // The third arm: were the optimizer's state not restored, this would pass the test above as well.
  auto o = options(0);
  auto spec = small_vae();
  auto plain = vae_trainer(o);
  run(plain, 0, 3);
  plain.export_weights(weights, "fp32");
  run(plain, 3, 6);
  spec.weights = {weights};
  Trainer restarted(vae_objective(spec, o.seed, device()), o);
  run(restarted, 3, 6);
  CHECK(!same(copies(plain), copies(restarted)));
}

TEST(micro_batches_give_the_gradients_of_the_whole) {
  auto whole = vae_trainer(), parts = vae_trainer();
  Control control;
  const auto a = metric(whole.step({images(0, 4)}, 0, 1e-3, control), "grad_norm");
  const auto b = metric(parts.step({images(0, 1), images(1, 3)}, 0, 1e-3, control), "grad_norm");
  CHECK(std::abs(a - b) < 1e-4 * a);
}

TEST(a_cancelled_or_broken_step_changes_nothing) {
  auto t = vae_trainer();
  run(t, 0, 1);
  const auto before = copies(t);
  Control cancelled;
  cancelled.cancelled = true;
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), t.step({images(0, 4)}, 1, 1e-3, cancelled));
  Control control;
  auto short_batch = images(0, 4);
  short_batch.pixels.resize(100);
  EXPECT_FAILURE(BadRequest, ({"pixels of 4 images", "found 100"}), t.step({short_batch}, 1, 1e-3, control));
  EXPECT_FAILURE(BadRequest, ({"expected samples"}), t.step({}, 1, 1e-3, control));
  EXPECT_FAILURE(BadRequest, ({"multiples of"}), t.step({images(0, 2, 12)}, 1, 1e-3, control));
  auto first = t.objective().parameters().front().second;
  const auto kept = first.detach().clone();
  first.detach().fill_(std::numeric_limits<double>::quiet_NaN());
  EXPECT_FAILURE(NotFinite, ({"step 7", "finite"}), t.step({images(0, 4)}, 7, 1e-3, control));
  first.detach().copy_(kept);
  CHECK(same(before, copies(t)));
}

TEST(a_checkpoint_of_another_model_is_refused_by_name) {
  auto t = vae_trainer();
  const auto file = scratch("other");
  save_safetensors(file, {{"parameter.encoder.conv_in.weight", at::zeros({2, 2})}});
  EXPECT_FAILURE(BadShape, ({"encoder.conv_in.weight", "another shape"}), t.restore(file));
  save_safetensors(file, {{"parameter.x", at::zeros({2, 2})}});
  EXPECT_FAILURE(KeysMismatch, ({"encoder.conv_in.weight", "found none"}), t.restore(file));
}

TEST(held_out_figures_are_those_of_the_averages_and_repeatable) {
  auto t = vae_trainer();
  run(t, 0, 2);
  const auto before = copies(t);
  const auto a = metric(t.evaluate(images(50, 4)), "psnr"), b = metric(t.evaluate(images(50, 4)), "psnr");
  CHECK_EQ(a, b);
  CHECK(same(before, copies(t)));  // the current weights are back
  const auto file = scratch("averages");
  t.export_weights(file, "fp32");
  auto spec = small_vae();
  spec.weights = {file};
  Trainer exported(vae_objective(spec, 0, device()), options(0));
  CHECK_EQ(metric(exported.evaluate(images(50, 4)), "psnr"), a);
}

TEST(recomputation_changes_no_gradient) {
  const auto w = randn({6, 6}).requires_grad_(true);
  const auto data = randn({4, 6});
  const auto part = [&](const Tensors& in) -> Tensors { return {at::tanh(at::matmul(in[0], w)), in[1] * 2}; };
  const auto gradient = [&](bool recompute, const Tensor& x) {
    w.mutable_grad() = Tensor();
    const auto y = at::ones_like(x);
    const auto out = recompute ? recomputed(part, {x, y}) : part({x, y});
    (out[0].square().sum() + out[1].sum()).backward();
    return w.grad().clone();
  };
  CHECK(at::equal(gradient(false, data), gradient(true, data)));  // only the captured parameter asks for gradients
  const auto x = data.clone().requires_grad_(true);
  gradient(false, x);
  const auto plain = x.grad().clone();
  x.mutable_grad() = Tensor();
  gradient(true, x);
  CHECK(at::equal(plain, x.grad()));
}

TEST(flow_recomputes_to_the_same_step) {
  // To rounding: the first pass runs without gradients, and so in fused form.
  Control control;
  std::vector<Metrics> results;
  for (const bool recompute : {false, true}) {
    auto spec = small_flow(true);
    spec.gradient_checkpointing = recompute;
    auto objective = FlowObjective::create(spec, 1, device(), control);
    objective->inputs().cache_prompts(prompts(3), control);
    Trainer t(std::move(objective), options());
    results.push_back(t.step({with_texts(images(0, 4, 64))}, 0, 1e-3, control));
  }
  for (const char* name : {"loss", "grad_norm"}) {
    const auto a = metric(results[0], name), b = metric(results[1], name);
    CHECK(std::abs(a - b) < 1e-5 * a);
  }
}

TEST(cached_latents_train_as_images_do) {
  Control control;
  std::vector<std::vector<Tensor>> results;
  for (const bool cached : {false, true}) {
    auto owned = FlowObjective::create(small_flow(false), 1, device(), control);
    auto& flow = *owned;
    flow.inputs().cache_prompts(prompts(3), control);
    Trainer t(std::move(owned), options());
    auto batch = with_texts(images(0, 4, 64));
    if (cached) {
      flow.inputs().cache_latents(batch);
      batch.pixels.clear();
    }
    for (int64_t i = 0; i < 2; ++i) t.step({batch}, i, 1e-3, control);
    results.push_back(copies(t));
  }
  CHECK(same(results[0], results[1]));
}

TEST(flow_from_nothing_starts_at_the_loss_of_predicting_zero) {
  Control control;
  auto owned = FlowObjective::create(small_flow(false), 1, device(), control);
  owned->inputs().cache_prompts(prompts(3), control);
  auto& flow = *owned;
  Trainer t(std::move(owned), options());
  // adaLN-Zero: the output layer is zero, so the loss is the mean square of noise - x_0.
  const auto batch = with_texts(images(0, 4, 64));
  const auto loss = metric(t.evaluate(batch), "loss");
  CHECK(loss > 0.9);
  std::vector<Event> images;
  control.on_event = [&](Event&& e) { images.push_back(std::move(e)); };
  flow.preview({{1, 2}, {0, 1}, 2, 64, 96, 3}, control);
  CHECK_EQ(images.size(), size_t{2});
  for (const auto& e : images) CHECK_EQ(e.bytes.size(), size_t{64 * 96 * 3});
}

TEST(lora_trains_adapters_alone) {
  Control control;
  auto spec = small_flow(true);
  spec.lora = LoraConfig{2, 4, {"attn.to_q", "attn.to_v"}};
  auto owned = FlowObjective::create(spec, 1, device(), control);
  owned->inputs().cache_prompts(prompts(3), control);
  Trainer t(std::move(owned), options());
  for (const auto& [name, p] : t.objective().parameters()) CHECK(name.find(".lora_") != std::string::npos);
  const auto before = copies(t);
  t.step({with_texts(images(0, 4, 64))}, 0, 1e-2, control);
  CHECK(!same(before, copies(t)));
  spec.source.transformer.weights.clear();
  EXPECT_FAILURE(BadRequest, ({"LoRA", "--model"}), FlowObjective::create(spec, 1, device(), control));
}

TEST(images_are_rotated_and_patches_dropped_in_training_alone_and_otherwise_each_time) {
  const auto json = scratch("clip-config");
  std::ofstream(json) << R"({"projection_dim": 8,
    "text_config": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "vocab_size": 8, "max_position_embeddings": 4, "eos_token_id": 7, "bos_token_id": 6},
    "vision_config": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                      "image_size": 16, "patch_size": 4}})";
  auto batch = images(0, 4);
  for (int64_t i = 0; i < 4; ++i) batch.ids.insert(batch.ids.end(), {6, i, 7, 7});
  const auto loss = [&](double rotated, double dropped, int64_t step, bool evaluation = false) {
    const auto objective = clip_objective({json, {}, 0, rotated, dropped}, 3, device());
    return objective->loss(batch, {3, step, evaluation}).total.item<double>();
  };
  const auto plain = loss(0, 0, 0);
  CHECK_EQ(loss(0, 0, 1), plain);
  for (const auto& [rotated, dropped] : {std::pair{0.0, 0.5}, {30.0, 0.0}}) {
    CHECK_EQ(loss(rotated, dropped, 0), loss(rotated, dropped, 0));
    CHECK(loss(rotated, dropped, 0) != loss(rotated, dropped, 1));
    CHECK(loss(rotated, dropped, 0) != plain);
    CHECK_EQ(loss(rotated, dropped, 0, true), plain);
  }
  CHECK(std::abs(loss(1e-6, 0, 0) - plain) < 1e-4);  // the way there and back is no change by itself
  CHECK(std::isfinite(loss(0, 0.999, 0)));           // one patch stays
}

TEST(a_scorer_learns_what_is_preferred_and_is_read_back_by_the_kind_that_scores) {
  const auto json = scratch("scorer-config");
  std::ofstream(json) << R"({"projection_dim": 8, "head_config": {"hidden_sizes": [4, 4, 4, 4]},
    "text_config": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "vocab_size": 8, "max_position_embeddings": 4, "eos_token_id": 7, "bos_token_id": 6},
    "vision_config": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                      "image_size": 16, "patch_size": 4}})";
  auto batch = images(0, 16);
  for (size_t i = 0; i < batch.pixels.size() / 2; ++i) batch.pixels[i] = static_cast<uint8_t>(batch.pixels[i] / 2);
  batch.images = batch.samples;
  batch.samples.resize(8);  // eight pairs: the darker of two is preferred
  Control control;
  Trainer t(scorer_objective({json, {}, true}, 3, device()), options());
  const auto before = metric(t.evaluate(batch), "loss");
  for (int64_t i = 0; i < 40; ++i) t.step({batch}, i, 1e-2, control);
  CHECK(metric(t.evaluate(batch), "loss") < before / 2);
  CHECK_EQ(metric(t.evaluate(batch), "accuracy"), 1.0);
  const auto file = scratch("scorer.safetensors");
  t.export_weights(file, "fp32");
  ScorerSource source{"aesthetic", json, {file}, "", ""};
  const auto scorer = load_scorer(source, {device().str(), "fp32"}, control);
  ImagesToScore seen;
  for (int64_t i = 0; i < 16; ++i) {
    const auto* first = batch.pixels.data() + i * 16 * 16 * 3;
    seen.images.push_back({{first, first + 16 * 16 * 3}, 16, 16, 3});
  }
  const auto values = scorer->score(seen, control).values;
  double margin = 0;
  for (size_t i = 0; i < 8; ++i) {
    CHECK(values[i] > values[i + 8]);
    margin += (values[i] - values[i + 8]) / 8;
  }
  CHECK(std::abs(margin - metric(t.evaluate(batch), "margin")) < 1e-3 * (1 + std::abs(margin)));
  batch.samples.resize(7);
  EXPECT_FAILURE(BadRequest, ({"two images a pair"}), t.step({batch}, 41, 1e-2, control));
}

TEST(autocast_ends_with_its_scope) {
  const auto a = at::ones({4, 4});
  {
    const Autocast autocast(at::kCPU, at::kBFloat16);
    CHECK_EQ(at::matmul(a, a).scalar_type(), at::kBFloat16);
    const Autocast off(at::kCPU, at::kFloat);
    CHECK_EQ(at::matmul(a, a).scalar_type(), at::kFloat);
  }
  CHECK_EQ(at::matmul(a, a).scalar_type(), at::kFloat);
}

DRM_TEST_MAIN
