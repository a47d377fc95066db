// What surrounds CLIP when it judges: Pillow's resampling, CMMD, and the loaded scorer.
#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "scorers/clip_model.h"
#include "scorers/letterbox.h"
#include "scorers/registry.h"
#include "tensor_io/safetensors.h"
#include "text/text_keys.h"

using namespace drm;

namespace {

std::vector<uint8_t> pattern() {
  std::vector<uint8_t> bytes;
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 7; ++j) bytes.push_back(static_cast<uint8_t>(i * 97 + j * j * 61 + i * j * 29));
  return bytes;
}

Bitmap colours() {
  const auto grey = pattern();
  Bitmap b{{}, 5, 7, 3};
  for (size_t i = 0; i < 5; ++i)
    for (size_t j = 0; j < 7; ++j) {
      const auto value = grey[i * 7 + j];
      b.pixels.insert(b.pixels.end(), {value, static_cast<uint8_t>(255 - value), grey[(4 - i) * 7 + j]});
    }
  return b;
}

void expect_pixels(const Bitmap& got, std::vector<uint8_t> want) { CHECK(got.pixels == want); }

}  // namespace

// The numbers are Pillow 13's, Image.resize(..., BICUBIC); whole photographs are compared in test/parity/scorers/.
TEST(reduction_equals_pillow) {
  expect_pixels(pillow_bicubic({pattern(), 5, 7, 1}, 2, 3), {110, 159, 195, 114, 90, 174});
}

TEST(one_axis_at_a_time_equals_pillow) {
  expect_pixels(
      pillow_bicubic({pattern(), 5, 7, 1}, 5, 9),
      {0,   28,  155, 217, 37, 172, 245, 216, 143, 93, 161, 170, 155, 221, 172, 204, 214, 160, 200, 102, 35,  60, 149,
       122, 177, 211, 176, 28, 134, 206, 177, 77,  68, 150, 209, 193, 136, 75,  71,  82,  5,   19,  123, 206, 209});
}

TEST(enlargement_and_reduction_together_equal_pillow) {
  expect_pixels(
      pillow_bicubic({pattern(), 5, 7, 1}, 11, 4),
      {23,  149, 163, 199, 46,  156, 170, 197, 99,  175, 188, 194, 139, 170, 195, 192, 139, 111, 176, 193, 129, 68,
       151, 195, 119, 109, 126, 197, 108, 162, 100, 199, 102, 132, 75,  200, 100, 71,  55,  202, 99,  46,  46,  202});
}

TEST(colours_equal_pillow) {
  expect_pixels(pillow_bicubic(colours(), 6, 2),
                {96,  159, 67,  184, 71, 116, 150, 105, 118, 194, 61,  141, 124, 131, 110, 177, 78,  157,
                 110, 145, 124, 157, 98, 177, 118, 137, 150, 141, 114, 194, 67,  188, 96,  116, 139, 184});
}

TEST(squares_crop_the_middle_by_either_rule) {
  // 3 columns too many: transformers leaves out 1 on the left, torchvision 2 (1.5 to the even neighbour).
  Bitmap wide{{}, 2, 5, 1};
  for (uint8_t v = 0; v < 10; ++v) wide.pixels.push_back(v);
  expect_pixels(pillow_square(wide, 2), {1, 2, 6, 7});
  expect_pixels(pillow_square(wide, 2, CropRule::Torchvision), {2, 3, 7, 8});
}

TEST(nothing_is_no_image) {
  EXPECT_FAILURE(BadRequest, ({"[resize]", "7 x 5 x 1 in 34 bytes"}),
                 pillow_bicubic({std::vector<uint8_t>(34), 5, 7, 1}, 2, 2));
  EXPECT_FAILURE(BadRequest, ({"to become 0 x 3"}), pillow_bicubic({pattern(), 5, 7, 1}, 3, 0));
  EXPECT_FAILURE(BadRequest, ({"[resize]"}), pillow_square({{}, 0, 0, 3}, 8));
}

namespace {

/// The sets of data/clip/cmmd.py.
Features features(int64_t rows, int seed, double shift) {
  Features f{{}, rows, 24};
  for (int64_t i = 0; i < rows; ++i) {
    std::vector<float> row;
    double norm = 0;
    for (int j = 0; j < 24; ++j) {
      row.push_back(static_cast<float>(std::sin(1.7 * static_cast<double>(i) + 0.9 * j * (seed + 1)) +
                                       shift * std::cos(0.3 * j)));
      norm += static_cast<double>(row.back()) * row.back();
    }
    for (const auto v : row) f.values.push_back(static_cast<float>(v / std::sqrt(norm)));
  }
  return f;
}

}  // namespace

TEST(cmmd_equals_the_authors_formula) {
  const auto d = cmmd(features(37, 0, 0.4), features(29, 1, 0.1));
  CHECK(std::abs(d.biased - 0.8213066032376481) < 1e-9);
  CHECK(std::abs(d.unbiased - 0.23525388996858965) < 1e-9);
}

TEST(cmmd_of_a_set_with_itself_is_zero) {
  const auto f = features(2000, 0, 0.2);  // more rows than are computed at a time
  CHECK(std::abs(cmmd(f, f).biased) < 1e-9);
  CHECK(cmmd(f, features(2000, 0, 0.3)).biased > 1e-3);
}

TEST(cmmd_refuses_what_has_no_distance) {
  EXPECT_FAILURE(BadRequest, ({"at least 2", "1 of 24"}), cmmd(features(1, 0, 0), features(5, 0, 0)));
  EXPECT_FAILURE(BadRequest, ({"one width"}), cmmd(features(5, 0, 0), Features{std::vector<float>(20), 5, 4}));
}

namespace {

/// A CLIP folder with random weights, removed at the end.
struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "drm_clip_scorer_test").string();
  Folder() {
    std::filesystem::create_directories(path);
    write("config.json", R"({"projection_dim": 8,
      "text_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                      "vocab_size": 40, "max_position_embeddings": 12, "eos_token_id": 39},
      "vision_config": {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3,
                        "image_size": 32, "patch_size": 8}})");
    auto m = make_clip_model(read_clip_model_config(path + "/config.json"));
    auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    each_tensor(m, [&](const std::string& name, at::Tensor& t) {
      tensors.emplace_back(name, at::randn(t.sizes(), generator) * 0.3 + 0.1);
    });
    save_safetensors(path + "/model.safetensors", tensors);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path + "/" + name) << text; }
  ScorerSource source() const { return {"clip", path + "/config.json", {path + "/model.safetensors"}, ""}; }
};

}  // namespace

TEST(scorer_gives_the_models_features) {
  const Folder folder;
  Control control;
  const auto scorer = load_scorer(folder.source(), {}, control);
  CHECK_EQ(scorer->info().image_size, 32);
  CHECK_EQ(scorer->info().tokens, 12);
  CHECK_EQ(scorer->info().width, 8);
  // 400 images: several network calls; one image alone gives what it gives among others.
  std::vector<Bitmap> many;
  for (int i = 0; i < 400; ++i) {
    auto image = colours();
    image.pixels[static_cast<size_t>(i % 105)] ^= 0xff;
    many.push_back(image);
  }
  std::vector<std::pair<std::string, int64_t>> reports;
  control.on_progress = [&](const Progress& p) { reports.emplace_back(p.phase, p.step); };
  const auto all = scorer->image_features(many, control);
  CHECK_EQ(all.rows, 400);
  CHECK(reports.size() >= 2 && reports.back().first == "images" && reports.back().second == 400);
  const auto one = scorer->image_features({many[399]}, control);
  auto m = make_clip_model(read_clip_model_config(folder.path + "/config.json"));
  load_clip_model(m, Weights::open(folder.source().weights, clip_keys()), at::kFloat, at::kCPU);
  const auto square = pillow_square(many[399], 32);
  const auto pixels = at::tensor(square.pixels, at::kByte).view({1, 32, 32, 3});
  const auto direct = image_features(m, clip_pixels(pixels));
  for (int64_t i = 0; i < 8; ++i) {
    CHECK(std::abs(one.values[static_cast<size_t>(i)] - direct[0][i].item<float>()) < 1e-6f);
    CHECK(std::abs(all.values[static_cast<size_t>(399 * 8 + i)] - direct[0][i].item<float>()) < 1e-5f);
  }
  const std::vector<int64_t> ids = {1, 5, 39, 39, 39, 39, 39, 39, 39, 39, 39, 39};
  const auto texts = scorer->text_features({ids, ids}, control);
  const auto said = text_features(m, at::tensor(ids, at::kLong).unsqueeze(0));
  CHECK(std::abs(texts.values[9] - said[0][1].item<float>()) < 1e-5f);
}

TEST(scorer_stops_when_cancelled) {
  const Folder folder;
  Control control;
  const auto scorer = load_scorer(folder.source(), {}, control);
  control.cancelled = true;
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), scorer->image_features({colours()}, control));
}

TEST(scorer_refuses_what_it_cannot_judge) {
  const Folder folder;
  Control control;
  const auto scorer = load_scorer(folder.source(), {}, control);
  EXPECT_FAILURE(BadRequest, ({"caption 0", "expected 12", "found 3"}), scorer->text_features({{1, 5, 39}}, control));
  EXPECT_FAILURE(BadRequest, ({"token id 40"}), scorer->text_features({std::vector<int64_t>(12, 40)}, control));
  EXPECT_FAILURE(BadRequest, ({"token id -1"}), scorer->text_features({std::vector<int64_t>(12, -1)}, control));
  EXPECT_FAILURE(BadRequest, ({"caption 0", "end token 39"}),
                 scorer->text_features({std::vector<int64_t>(12, 5)}, control));
  EXPECT_FAILURE(BadRequest, ({"[resize]"}),
                 scorer->image_features({Bitmap{std::vector<uint8_t>(5), 2, 2, 3}}, control));
}

TEST(another_preprocessing_is_refused) {
  const Folder folder;
  Control control;
  auto source = folder.source();
  source.preprocessor_config = folder.path + "/preprocessor_config.json";
  const std::string usual = R"("image_mean": [0.48145466, 0.4578275, 0.40821073], "resample": 3,
                               "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32})";
  folder.write("preprocessor_config.json", "{" + usual + "}");
  load_scorer(source, {}, control);
  folder.write("preprocessor_config.json", R"({"image_mean": [0.5, 0.5, 0.5]})");
  EXPECT_FAILURE(BadConfig, ({"preprocessor_config.json", "another image_mean"}), load_scorer(source, {}, control));
  folder.write("preprocessor_config.json", R"({"resample": 2})");
  EXPECT_FAILURE(BadConfig, ({"resample"}), load_scorer(source, {}, control));
  folder.write("preprocessor_config.json", R"({"crop_size": 224})");
  EXPECT_FAILURE(BadConfig, ({"crop_size", "32"}), load_scorer(source, {}, control));
  // The letterbox crops nothing.
  source.settings = R"({"pixels": "letterbox"})";
  folder.write("preprocessor_config.json", R"({"do_center_crop": true})");
  EXPECT_FAILURE(BadConfig, ({"whole image", "do_center_crop true"}), load_scorer(source, {}, control));
  folder.write("preprocessor_config.json", R"({"do_center_crop": false})");
  load_scorer(source, {}, control);
}

TEST(pixels_are_a_setting) {
  const Folder folder;
  Control control;
  auto source = folder.source();
  auto m = make_clip_model(read_clip_model_config(source.config));
  load_clip_model(m, Weights::open(source.weights, clip_keys()), at::kFloat, at::kCPU);
  // 43 x 32: an odd margin of 11, which the two crops halve differently.
  Bitmap wide{{}, 32, 43, 3};
  for (int i = 0; i < 32 * 43 * 3; ++i) wide.pixels.push_back(static_cast<uint8_t>(i * i * 31 + i * 7));
  const auto expect = [&](const std::string& settings, const at::Tensor& pixels) {
    source.settings = settings;
    const auto got = load_scorer(source, {}, control)->image_features({wide}, control);
    const auto want = image_features(m, pixels);
    for (int64_t i = 0; i < got.width; ++i)
      CHECK(std::abs(got.values[static_cast<size_t>(i)] - want[0][i].item<float>()) < 1e-5f);
    return want;
  };
  const auto squared = [&](CropRule rule) {
    return clip_pixels(at::tensor(pillow_square(wide, 32, rule).pixels, at::kByte).view({1, 32, 32, 3}));
  };
  const auto boxed = [&](bool antialias) { return at::tensor(letterbox(wide, 32, antialias)).view({1, 3, 32, 32}); };
  const std::vector<at::Tensor> all = {
      expect("", squared(CropRule::Transformers)),
      expect(R"({"pixels": "torchvision"})", squared(CropRule::Torchvision)),
      expect(R"({"pixels": "letterbox"})", boxed(true)),
      expect(R"({"pixels": "letterbox", "antialias": false})", boxed(false)),
  };
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < i; ++j) CHECK((all[i] - all[j]).abs().max().item<double>() > 1e-3);
  source.settings = R"({"pixels": "stretched"})";
  EXPECT_FAILURE(BadConfig, ({"pixels", "letterbox", "stretched"}), load_scorer(source, {}, control));
  source.settings = "{";
  EXPECT_FAILURE(BadFile, ({"settings of the scorer clip"}), load_scorer(source, {}, control));
}

TEST(thin_images_are_judged_or_refused) {
  const Folder folder;
  Control control;
  auto source = folder.source();
  const auto strip = [](int64_t width) {
    return Bitmap{std::vector<uint8_t>(static_cast<size_t>(width * 3), 9), 1, width, 3};
  };
  for (const std::string pixels : {"transformers", "torchvision", "letterbox"}) {
    source.settings = R"({"pixels": ")" + pixels + R"("})";
    const auto scorer = load_scorer(source, {}, control);
    CHECK_EQ(scorer->image_features({strip(1), strip(700)}, control).rows, 2);
    if (pixels == "letterbox") continue;  // which enlarges nothing of a strip
    EXPECT_FAILURE(BadRequest, ({"[resize]", "to become 96000 x 32"}), scorer->image_features({strip(3000)}, control));
  }
}

TEST(damaged_weights_give_no_scores) {
  const Folder folder;
  Control control;
  auto m = make_clip_model(read_clip_model_config(folder.path + "/config.json"));
  load_clip_model(m, Weights::open(folder.source().weights, clip_keys()), at::kFloat, at::kCPU);
  m.vision.projection.weight.fill_(std::nan(""));
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  each_tensor(m, [&](const std::string& name, at::Tensor& t) { tensors.emplace_back(name, t); });
  save_safetensors(folder.path + "/damaged.safetensors", tensors);
  auto source = folder.source();
  source.weights = {folder.path + "/damaged.safetensors"};
  const auto scorer = load_scorer(source, {}, control);
  EXPECT_FAILURE(NotFinite, ({"[clip] images", "damaged"}), scorer->image_features({colours()}, control));
  m.logit_scale.value.fill_(std::nan(""));
  save_safetensors(folder.path + "/damaged.safetensors", tensors);
  EXPECT_FAILURE(NotFinite, ({"logit_scale"}), load_scorer(source, {}, control));
}

// A scorer is a class and a line: this one finds bright images good, and reads no prompt.
namespace {

class Brightness final : public Scorer {
 public:
  const ScorerInfo& info() const override { return info_; }
  Scores score(const ImagesToScore& request, Control&) override {
    Scores scores;
    for (const auto& image : request.images) {
      double sum = 0;
      for (const auto byte : image.pixels) sum += byte;
      scores.values.push_back(static_cast<float>(sum / 255 / static_cast<double>(image.pixels.size())));
    }
    return scores;
  }

 private:
  ScorerInfo info_{"cpu", "fp32"};
};

std::shared_ptr<Scorer> load_brightness(const ScorerSource&, const LoadOptions&, Control&) {
  return std::make_shared<Brightness>();
}

}  // namespace

TEST(a_further_scorer_is_a_class_and_a_line) {
  add_scorer({"brightness", load_brightness});
  Control control;
  const auto scorer = load_scorer({"brightness"}, {}, control);
  const auto grey = [](uint8_t value) { return Bitmap{std::vector<uint8_t>(2 * 2 * 3, value), 2, 2, 3}; };
  CHECK(scorer->score({{grey(255), grey(0)}, {}, {}}, control).values == (std::vector<float>{1, 0}));
  EXPECT_FAILURE(BadRequest, ({"no features of images"}), scorer->image_features({grey(1)}, control));
  EXPECT_FAILURE(BadRequest, ({"clip, ", "brightness", "taste"}), load_scorer({"taste"}, {}, control));
}

TEST(a_score_is_the_cosine_of_image_and_prompt) {
  const Folder folder;
  Control control;
  const auto scorer = load_scorer(folder.source(), {}, control);
  const std::vector<std::vector<int64_t>> prompts{std::vector<int64_t>(static_cast<size_t>(scorer->info().tokens), 39)};
  const ImagesToScore request{{colours(), colours()}, prompts, {0, 0}};
  const auto scores = scorer->score(request, control).values;
  const auto image = scorer->image_features({colours()}, control), text = scorer->text_features(prompts, control);
  double want = 0;
  for (size_t i = 0; i < image.values.size(); ++i) want += static_cast<double>(image.values[i]) * text.values[i];
  CHECK(std::abs(scores[0] - want) < 1e-5 && std::abs(scores[0] - scores[1]) < 1e-5);
  EXPECT_FAILURE(BadRequest, ({"a prompt for each of 2"}), scorer->score({request.images, prompts, {0}}, control));
  EXPECT_FAILURE(BadRequest, ({"prompt 1", "one of 1"}), scorer->score({request.images, prompts, {0, 1}}, control));
}

TEST(equal_images_and_prompts_are_looked_at_once) {
  const Folder folder;
  Control control;
  const auto scorer = load_scorer(folder.source(), {}, control);
  auto other = colours();
  other.pixels[5] ^= 0x7f;
  std::vector<int64_t> first(12, 39), second(12, 39);
  second[1] = 7;
  std::map<std::string, int64_t> looked_at;
  control.on_progress = [&](const Progress& p) { looked_at[p.phase] = p.total; };
  const ImagesToScore r{{colours(), other, colours(), other}, {first, second, first}, {0, 1, 1, 2}};
  const auto scores = scorer->score(r, control).values;
  CHECK_EQ(looked_at["images"], 2);
  CHECK_EQ(looked_at["texts"], 2);
  for (size_t i = 0; i < 4; ++i) {
    const auto alone = scorer->score({{r.images[i]}, {r.prompts[static_cast<size_t>(r.prompt_of[i])]}, {0}}, control);
    CHECK(std::abs(alone.values[0] - scores[i]) < 1e-6f);
  }
}

DRM_TEST_MAIN
