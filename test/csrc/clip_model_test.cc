// CLIP's two towers against transformers and open_clip (golden scorers), and the loss that trains them.
#include "scorers/clip_model.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>

#include "scorers_golden.h"
#include "text/text_keys.h"

using namespace drm;
using namespace drm::test;

namespace {

ClipModelConfig config_of(const std::string& name) { return clip_config(*scorer_case(name).find("config")); }

ClipModel load(const std::string& name, const std::string& spelling) {
  auto m = make_clip_model(config_of(name));
  const auto file = scorers_golden() + name + "." + spelling + ".safetensors";
  load_clip_model(m, Weights::open({file}, clip_keys()), at::kFloat, at::kCPU);
  return m;
}

void check_towers(const std::string& name, const std::string& spelling) {
  const at::NoGradGuard no_grad;
  const auto m = load(name, spelling);
  const Io io{.name = name};
  std::map<std::string, Tensor> vision, text;
  const Observer see_vision = [&](const std::string& n, const Tensor& t) { vision[n] = t; };
  const Observer see_text = [&](const std::string& n, const Tensor& t) { text[n] = t; };
  const auto v = clip_vision_forward(m.vision, io["pixel_values"], &see_vision);
  close(vision["hidden_states.0"], io["vision_embed"], 5e-5, "vision_embed");
  close(vision["hidden_states.1"], io["vision_layer0"], 5e-5, "vision_layer0");
  close(v.last, io["vision_last"], 5e-5, "vision_last");
  close(v.pooled, io["vision_pooled"], 5e-5, "vision_pooled");
  close(v.embeds, io["image_features"], 5e-5, "image_features");
  const auto t = clip_forward(m.text, io["input_ids"], &see_text);
  close(text["hidden_states.0"], io["text_embed"], 5e-5, "text_embed");
  // The reference masks padding, so that its states count up to the end token only.
  const auto real = io["attention_mask"].unsqueeze(-1).to(at::kFloat);
  close(text["hidden_states.1"] * real, io["text_layer0"] * real, 5e-5, "text_layer0");
  close(t.last * real, io["text_last"] * real, 5e-5, "text_last");
  close(t.pooled, io["text_features"], 5e-5, "text_features");
  // Padded with 0, as open_clip does: nothing after the end token counts.
  close(clip_forward(m.text, io["input_ids_openclip"]).pooled, io["text_features"], 5e-5,
        "text_features, padded with 0");
  const auto cosine = image_features(m, io["pixel_values"]).matmul(text_features(m, io["input_ids"]).t());
  close(cosine, io["cosine"], 5e-6, "cosine");
  close(m.logit_scale.value.exp() * cosine, io["logits_per_image"], 5e-4, "logits");
}

}  // namespace

TEST(clip_l_equals_transformers) { check_towers("clip_l", "hf"); }
TEST(clip_h_equals_transformers) { check_towers("clip_h", "hf"); }
TEST(clip_l_under_openai_names) { check_towers("clip_l", "openai"); }
TEST(clip_h_under_open_clip_names) { check_towers("clip_h", "openclip"); }

TEST(patches_keep_their_places_whatever_their_order_and_what_is_left_out_does_not_count) {
  const at::NoGradGuard no_grad;
  const auto m = load("clip_l", "hf");
  const auto pixels = Io{.name = "clip_l"}["pixel_values"];
  const auto batch = pixels.size(0), patches = m.vision.config.patches();
  const auto seen_by = [&](const Tensor& places, const Tensor& image) {
    return clip_vision_forward(m.vision, image, nullptr, places.expand({batch, -1})).embeds;
  };
  const auto backwards = at::arange(patches - 1, -1, -1, at::kLong);
  close(seen_by(backwards, pixels), clip_vision_forward(m.vision, pixels).embeds, 5e-5, "all, backwards");
  // Blacken the last row of patches: seen with it the image is another, without it the same.
  auto other = pixels.clone();
  other.narrow(2, other.size(2) - m.vision.config.patch_size, m.vision.config.patch_size).zero_();
  const auto rest = at::arange(patches - m.vision.config.image_size / m.vision.config.patch_size, at::kLong);
  CHECK(at::equal(seen_by(rest, pixels), seen_by(rest, other)));
  CHECK(!at::allclose(seen_by(backwards, pixels), seen_by(backwards, other), 1e-3, 1e-3));
}

TEST(pixels_are_normalised_as_transformers_does) {
  const Io io{.name = "pre"};
  const auto got = clip_pixels(io["square_hf_64_97x61_u8"].unsqueeze(0))[0];
  CHECK((got - io["square_hf_64_97x61_float"]).abs().max().item<double>() < 2e-6);
}

TEST(the_other_activation_is_told_apart) {
  const at::NoGradGuard no_grad;
  for (const std::string name : {"clip_l", "clip_h"}) {
    auto m = load(name, "hf");
    m.text.config.quick_gelu = m.vision.config.quick_gelu = !m.text.config.quick_gelu;
    const Io io{.name = name};
    const auto logits =
        m.logit_scale.value.exp() * image_features(m, io["pixel_values"]).matmul(text_features(m, io["input_ids"]).t());
    close(logits, io["neg_wrong_activation"], 5e-4, name);
    CHECK((logits - io["logits_per_image"]).abs().max().item<double>() > 0.1);
  }
}

// The counts are the published files' (spec of the scorers; arithmetic): nothing is allocated for them.
TEST(vit_h_14_has_the_published_size) {
  auto m = make_clip_model(read_clip_model_config(kScorerConfigs + "clip-vit-h-14.json"));
  CHECK_EQ(size_of(m).parameters, 986109441);
  CHECK_EQ(size_of(m).tensors, 7 + 16 * 32 + 4 + 16 * 24 + 3);  // image tower, text tower, projections and temperature
  CHECK(!m.text.config.quick_gelu && !m.vision.config.quick_gelu);
}

TEST(vit_l_14_has_the_published_size) {
  auto m = make_clip_model(read_clip_model_config(kScorerConfigs + "clip-vit-l-14.json"));
  CHECK_EQ(size_of(m).parameters, 427616513);
  CHECK(m.text.config.quick_gelu && m.vision.config.quick_gelu);
}

TEST(pixels_of_another_size_are_refused) {
  const auto m = load("clip_l", "hf");
  EXPECT_FAILURE(BadRequest, ({"(batch, 3, 56, 56)", "[1, 3, 64, 64]"}), image_features(m, at::zeros({1, 3, 64, 64})));
}

TEST(one_tower_alone_is_no_clip_model) {
  EXPECT_FAILURE(BadConfig, ({"text_config", "one tower"}),
                 read_clip_model_config(std::string(DRM_GOLDEN) + "/clip_l/config.json"));
}

namespace {

std::map<std::string, Tensor> track(ClipModel& m) {
  std::map<std::string, Tensor> leaves;
  each_tensor(m, [&](const std::string& name, Tensor& t) { leaves[name] = t.requires_grad_(true); });
  return leaves;
}

}  // namespace

TEST(loss_and_gradients_equal_transformers) {
  const auto want = SafetensorsFile::open(std::string(DRM_TEST_DATA) + "/clip/loss.safetensors");
  auto m = load("clip_l", "hf");
  m.logit_scale.value.fill_(1.5);
  const auto leaves = track(m);
  const Io io{.name = "clip_l"};
  const auto l = clip_loss(m, io["pixel_values"], io["input_ids"]);
  l.loss.backward();
  close(l.loss.detach(), want->load("loss"), 1e-5, "loss");
  const auto logits = want->load("logits_per_image");
  const auto right = at::arange(3);
  CHECK_EQ(l.image_to_text.item<float>(), logits.argmax(1).eq(right).to(at::kFloat).mean().item<float>());
  CHECK_EQ(l.text_to_image.item<float>(), logits.argmax(0).eq(right).to(at::kFloat).mean().item<float>());
  size_t compared = 0;
  for (const auto& [name, info] : want->tensors()) {
    if (name.rfind("grad.", 0) != 0) continue;
    const auto& leaf = leaves.at(name.substr(5));
    CHECK(leaf.grad().defined());
    close(leaf.grad(), want->load(name), 1e-5, name);
    ++compared;
  }
  CHECK_EQ(compared, 13u);
  for (const auto& [name, leaf] : leaves)
    if (!leaf.grad().defined()) test::fail(__FILE__, __LINE__, name + " has no gradient");
}

TEST(equal_captions_are_partners_of_each_others_images) {
  const at::NoGradGuard no_grad;
  auto m = load("clip_l", "hf");
  m.logit_scale.value.fill_(1.5);
  const Io io{.name = "clip_l"};
  const auto pixels = io["pixel_values"];
  const auto ids = io["input_ids"].index_select(0, at::tensor({0, 0, 2}, at::kLong));
  const auto l = clip_loss(m, pixels, ids);
  const auto logits = std::exp(1.5) * image_features(m, pixels).matmul(text_features(m, ids).t());
  // Targets shared out among equal captions give the loss that one target each gives (see clip_model.h) ...
  const auto shared = at::tensor({0.5, 0.5, 0., 0.5, 0.5, 0., 0., 0., 1.}, at::kFloat).view({3, 3});
  const auto entropy = [&](const Tensor& x) { return -(shared * x.log_softmax(1)).sum(1).mean(); };
  close(l.loss, (entropy(logits) + entropy(logits.t())) / 2, 1e-6, "loss");
  // ... and an image that finds the other's equal caption is right.
  const auto found = shared.gt(0).to(at::kFloat);
  close(l.image_to_text, found.gather(1, logits.argmax(1, true)).mean(), 0, "image to text");
  close(l.text_to_image, found.gather(1, logits.argmax(0).unsqueeze(1)).mean(), 0, "text to image");
  CHECK(l.image_to_text.item<float>() > 0.6f);  // both of the two, whichever of the equal captions argmax names
}

TEST(temperature_is_clamped_at_100) {
  auto m = load("clip_l", "hf");
  const auto at_limit = clip_loss(m, Io{.name = "clip_l"}["pixel_values"], Io{.name = "clip_l"}["input_ids"]).loss;
  m.logit_scale.value.fill_(7);
  const auto above = clip_loss(m, Io{.name = "clip_l"}["pixel_values"], Io{.name = "clip_l"}["input_ids"]).loss;
  CHECK(std::abs((at_limit - above).item<double>()) < 1e-4);
  m.logit_scale.value.requires_grad_(true);
  clamp_logit_scale(m);
  CHECK(std::abs(m.logit_scale.value.item<double>() - std::log(100.0)) < 1e-6);
  // On the limit the gradient still passes, so that training can cool and warm again.
  clip_loss(m, Io{.name = "clip_l"}["pixel_values"], Io{.name = "clip_l"}["input_ids"]).loss.backward();
  CHECK(m.logit_scale.value.grad().abs().item<double>() > 0);
}

TEST(bf16_autocast_trains_all_parameters_with_an_fp32_loss) {
  auto m = load("clip_h", "hf");
  m.logit_scale.value.fill_(1.5);
  const auto leaves = track(m);
  const Io io{.name = "clip_h"};
  const auto exact = clip_loss(m, io["pixel_values"], io["input_ids"]).loss;
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto l = clip_loss(m, io["pixel_values"], io["input_ids"]);
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  CHECK(l.loss.scalar_type() == at::kFloat);
  CHECK(std::abs((l.loss - exact).item<double>()) < 0.02 * std::abs(exact.item<double>()));
  CHECK((l.loss - exact).abs().item<double>() > 0);  // it did run in bf16
  l.loss.backward();
  for (const auto& [name, leaf] : leaves)
    if (!leaf.grad().defined() || !at::isfinite(leaf.grad()).all().item<bool>())
      test::fail(__FILE__, __LINE__, name + ": no finite gradient");
}

TEST(gradient_steps_learn_three_pairs) {
  auto m = load("clip_l", "hf");
  m.logit_scale.value.fill_(2.5);
  auto leaves = track(m);
  const Io io{.name = "clip_l"};
  double first = 0, last = 0;
  for (int step = 0; step < 40; ++step) {
    const auto l = clip_loss(m, io["pixel_values"], io["input_ids"]);
    last = l.loss.item<double>();
    if (step == 0) first = last;
    l.loss.backward();
    const at::NoGradGuard no_grad;
    for (auto& [name, leaf] : leaves) {
      leaf.sub_(leaf.grad(), 0.02);
      leaf.mutable_grad().reset();
    }
    clamp_logit_scale(m);
  }
  CHECK(last < 0.3 * first);
}

// Half-precision towers: features are normalised, and products taken, in fp32.
TEST(half_precision_ranks_as_fp32_does) {
  const at::NoGradGuard no_grad;
  for (const std::string name : {"clip_h", "clip_l"}) {
    const Io io{.name = name};
    const auto exact = io["cosine"];
    for (const auto& [dtype, tolerance] : {std::pair(at::kBFloat16, 0.02), {at::kHalf, 0.0025}}) {
      auto m = make_clip_model(config_of(name));
      load_clip_model(m, Weights::open({scorers_golden() + name + ".hf.safetensors"}, clip_keys()), dtype, at::kCPU);
      const auto cosine = image_features(m, io["pixel_values"]).matmul(text_features(m, io["input_ids"]).t());
      CHECK(cosine.scalar_type() == at::kFloat && m.text.projection.weight.scalar_type() == dtype);
      const auto worst = (cosine - exact).abs().max().item<double>();
      if (!(worst < tolerance && worst > 0))
        test::fail(__FILE__, __LINE__, name + " in " + toString(dtype) + ": off by " + std::to_string(worst));
      for (const int64_t axis : {0, 1}) CHECK(at::equal(at::argsort(cosine, axis), at::argsort(exact, axis)));
      // Not 4.59375, which bf16 would make of it: e^s, and PickScore with it, would be 1.1 % less.
      const auto scale = scorer_case(name).find("config")->find("logit_scale")->as_double();
      CHECK(std::abs(m.logit_scale.value.item<double>() - scale) < 1e-6);
    }
  }
}

DRM_TEST_MAIN
