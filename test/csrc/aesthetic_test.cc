// The aesthetic predictor: its head against the authors' (golden scorers), and the loaded scorer.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <filesystem>

#include "check.h"
#include "scorer_fixture.h"
#include "scorers/aesthetic_scorer.h"
#include "scorers/clip_model.h"
#include "scorers/registry.h"
#include "temporary_folder.h"
#include "text/text_keys.h"

using namespace drm;
using test::golden_scorers;
using test::GoldenScorer;
using test::TemporaryFolder;

namespace {

std::vector<int64_t> hidden_sizes(const GoldenScorer& g) {
  std::vector<int64_t> sizes;
  for (const auto& width : g.list("dims").items()) sizes.push_back(width.as_int());
  return {sizes.begin() + 1, sizes.end() - 1};
}

struct HeadFile {
  AffineHead head;
};
template <class V>
void each(HeadFile& m, V&& visit) {
  each_affine_head(m.head, "", visit);
}

AffineHead load_head(const std::string& file, int64_t width, const std::vector<int64_t>& sizes, at::ScalarType dtype) {
  HeadFile m{make_affine_head(width, sizes)};
  const auto plain = [](const std::vector<std::string>& names) { return plain_keys(names, "", "the author's"); };
  Weights::open({file}, plain, Pickles::Read).fill(wanted(m), dtype, at::kCPU);
  return m.head;
}

AffineHead golden_head(at::ScalarType dtype) {
  const GoldenScorer g("aesthetic");
  return load_head(golden_scorers("aesthetic.safetensors"), g.list("dims").items()[0].as_int(), hidden_sizes(g), dtype);
}

/// One layer after the other, as the reference has it.
Tensor layer_by_layer(const AffineHead& head, Tensor x) {
  for (const auto& layer : head.layers) x = linear(layer, x);
  return x.squeeze(-1);
}

/// The golden CLIP-L and head as a scorer's files.
struct Folder : TemporaryFolder {
  GoldenScorer clip{"clip_l"}, golden{"aesthetic"};
  std::string config = write("config.json", config_text());

  ScorerSource source(const std::string& spelling = "openai", const std::string& settings = "") const {
    return {"aesthetic",
            config,
            {golden_scorers("clip_l." + spelling + ".safetensors"), golden_scorers("aesthetic.safetensors")},
            "",
            settings};
  }

 private:
  std::string config_text() const {
    const auto n = [&](const char* key) { return std::to_string(clip.size(key)); };
    std::string sizes;
    for (const auto size : hidden_sizes(golden)) sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
    return R"({"projection_dim": )" + n("proj") + R"(, "text_config": {"hidden_size": )" + n("tw") +
           R"(, "intermediate_size": )" + n("tm") + R"(, "num_hidden_layers": )" + n("tl") +
           R"(, "num_attention_heads": )" + n("th") + R"(}, "vision_config": {"hidden_size": )" + n("vw") +
           R"(, "intermediate_size": )" + n("vm") + R"(, "num_hidden_layers": )" + n("vl") +
           R"(, "num_attention_heads": )" + n("vh") + R"(, "image_size": )" + n("image") + R"(, "patch_size": )" +
           n("patch") + R"(}, "head_config": {"hidden_sizes": [)" + sizes + "]}}";
  }
};

/// Stripes that show a shift of one column.
Bitmap stripes(int64_t height, int64_t width) {
  Bitmap b{{}, height, width, 3};
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c) b.pixels.push_back(static_cast<uint8_t>((x * x * 7 + y * 3 + c * 40) % 256));
  return b;
}

}  // namespace

TEST(head_equals_the_authors_and_its_collapse_equals_both) {
  const at::NoGradGuard no_grad;
  const GoldenScorer g("aesthetic");
  const auto head = golden_head(at::kFloat);
  const auto map = collapse(head, at::kCPU);
  const auto tolerance = g.tolerance("score");
  CHECK(g.near(layer_by_layer(head, g["embed"]), "score", tolerance));
  CHECK(g.near(affine(map, g["embed"]), "score", tolerance));
  CHECK(g.near(map.weight.squeeze(0), "collapsed_weight", 1e-6));
  CHECK(g.near(map.bias, "collapsed_bias", 1e-6));
  // In fp64 the layers and the map are the same function up to the map's one rounding to fp32.
  const auto exact = golden_head(at::kDouble);
  const auto x = at::randn({50, g["embed"].size(1)}, at::make_generator<at::CPUGeneratorImpl>(3), at::kDouble);
  const auto bound = 1e-6 * x.abs().matmul(map.weight.abs().to(at::kDouble).squeeze(0)).add(1).max().item<double>();
  CHECK((affine(map, x).to(at::kDouble) - layer_by_layer(exact, x)).abs().max().item<double>() < bound);
  const auto unnormalised = affine(map, g["image_features"]);
  CHECK(g.near(unnormalised, "neg_unnormalised", tolerance) && !g.near(unnormalised, "score", 10 * tolerance));
}

TEST(image_features_and_scores_equal_the_reference) {
  const at::NoGradGuard no_grad;
  const Folder f;
  const GoldenScorer pixels("hpsv1");
  for (const std::string spelling : {"openai", "hf"}) {
    auto m = make_aesthetic(f.config);
    load_aesthetic(m, Weights::open(f.source(spelling).weights, clip_keys()), at::kFloat, at::kCPU);
    const auto features = clip_image_features(m.vision, pixels["pixel_values"]);
    CHECK(f.golden.near(features, "embed", 5e-6));
    CHECK(f.golden.near(affine(collapse(m.head, at::kCPU), features), "score", f.golden.tolerance("score")));
  }
}

TEST(published_sizes_come_from_the_config_alone) {
  const auto config = test::shipped_config("aesthetic");
  auto clip = make_clip_model(read_clip_model_config(config));
  CHECK_EQ(size_of(clip).parameters, 427616513);
  auto m = make_aesthetic(config);
  HeadFile head{m.head};
  CHECK_EQ(size_of(head).parameters, 768 * 1024 + 1024 + 1024 * 128 + 128 + 128 * 64 + 64 + 64 * 16 + 16 + 16 + 1);
  CHECK_EQ(size_of(m).parameters, size_of(m.vision).parameters + size_of(head).parameters);
  std::vector<std::string> keys;
  each_tensor(head, [&](const std::string& name, Tensor&) { keys.push_back(name); });
  CHECK(keys == (std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias",
                                          "layers.4.weight", "layers.4.bias", "layers.6.weight", "layers.6.bias",
                                          "layers.7.weight", "layers.7.bias"}));
}

TEST(a_clip_config_without_a_head_means_the_published_widths) {
  CHECK(read_head_sizes(Json::parse("{}", "x"), "x") == (std::vector<int64_t>{1024, 128, 64, 16}));
}

TEST(crop_is_a_setting) {
  const Folder f;
  Control control;
  const auto size = f.clip.size("image");
  const auto wide = stripes(size, size + 3);  // where the two rules part
  const auto score = [&](const std::string& settings, const Bitmap& image) {
    return load_scorer(f.source("openai", settings), {}, control)->score({{image}, {}, {}}, control).values.at(0);
  };
  const auto usual = score("", wide);
  CHECK_EQ(score(R"({"crop": "transformers"})", wide), usual);
  CHECK(std::abs(score(R"({"crop": "torchvision"})", wide) - usual) > 1e-4f);
  const auto square = stripes(size, size);
  CHECK_EQ(score(R"({"crop": "torchvision"})", square), score("", square));
  EXPECT_FAILURE(BadConfig, ({"crop", "settings of the scorer aesthetic", "\"torchvision\"", "\"pillow\""}),
                 score(R"({"crop": "pillow"})", wide));
  EXPECT_FAILURE(BadFile, ({"settings of the scorer aesthetic"}), score("{", wide));
}

TEST(scorer_reads_images_alone) {
  const Folder f;
  Control control;
  const auto scorer = load_scorer(f.source(), {}, control);
  CHECK_EQ(scorer->info().tokens, 0);
  CHECK_EQ(scorer->info().width, f.clip.size("proj"));
  CHECK_EQ(scorer->info().image_size, f.clip.size("image"));
  const std::vector<Bitmap> images = {stripes(40, 61), stripes(1, 7), stripes(7, 1)};
  const auto scores = scorer->score({images, {}, {}}, control).values;
  const auto features = scorer->image_features(images, control);
  const auto map = collapse(golden_head(at::kFloat), at::kCPU);
  for (int64_t i = 0; i < 3; ++i) {
    const auto row = at::tensor(features.values, at::kFloat).view({3, -1}).narrow(0, i, 1);
    CHECK(std::abs(row.norm().item<double>() - 1) < 1e-5);
    CHECK(std::abs(affine(map, row)[0].item<float>() - scores[static_cast<size_t>(i)]) < 1e-5f);
  }
  EXPECT_FAILURE(BadRequest, ({"no features of texts"}), scorer->text_features({{1}}, control));
  LoadOptions half;
  half.dtype = "bf16";
  const auto low = load_scorer(f.source(), half, control)->score({images, {}, {}}, control).values;
  // What the head makes of a relative error of one bf16 step in a unit vector of even numbers.
  const auto step = map.weight.abs().sum().item<double>() / 256 / std::sqrt(static_cast<double>(map.weight.size(1)));
  CHECK(std::abs(low[0] - scores[0]) < 4 * step && low[0] != scores[0]);
}

TEST(what_is_missing_or_damaged_is_told) {
  const Folder f;
  Control control;
  auto source = f.source();
  const auto clip = source.weights[0], head = source.weights[1];
  source.weights = {clip};
  EXPECT_FAILURE(KeysMismatch, ({"layers.0.weight", "a CLIP's weights alone"}), load_scorer(source, {}, control));
  source.weights = {head};
  EXPECT_FAILURE(KeysMismatch, ({"the head alone", "ViT-L/14"}), load_scorer(source, {}, control));
  source.weights = {golden_scorers("imagereward.safetensors")};
  EXPECT_FAILURE(KeysMismatch, ({"weights of ImageReward"}), load_scorer(source, {}, control));
  source.weights = {clip, std::string(DRM_TEST_DATA) + "/pickle/trained_zip.pt"};  // a checkpoint of torch.save is read
  EXPECT_FAILURE(KeysMismatch, ({"a CLIP's weights alone"}), load_scorer(source, {}, control));
  for (const auto& [file, key] : {std::pair(clip, "visual.ln_post.bias"), {head, "layers.4.bias"}}) {
    const auto damaged = f.file("damaged.safetensors");
    test::save_damaged(file, damaged, key);
    source.weights = {file == clip ? damaged : clip, file == clip ? head : damaged};
    const auto scorer = load_scorer(source, {}, control);
    EXPECT_FAILURE(NotFinite, ({"[aesthetic] images", "damaged"}), scorer->score({{stripes(9, 9)}, {}, {}}, control));
  }
  source = f.source();
  source.config = f.file("none.json");
  EXPECT_FAILURE(BadFile, ({"none.json"}), load_scorer(source, {}, control));
}

// Known answers of the published head (computed in fp32 by its author's module).
TEST(published_head_gives_the_known_answers) {
  const char* scorers = std::getenv("DRM_SCORERS");
  const auto folder = std::filesystem::path(scorers && *scorers ? scorers : "DRM_SCORERS") / "aesthetic";
  std::string file;
  for (const char* name : {"aesthetic.safetensors", "sac+logos+ava1-l14-linearMSE.pth"})
    if (std::filesystem::exists(folder / name)) file = (folder / name).string();
  if (file.empty()) {
    std::fprintf(stderr,
                 "SKIPPED published_head_gives_the_known_answers: expected sac+logos+ava1-l14-linearMSE.pth in %s\n",
                 folder.c_str());
    return;
  }
  constexpr int64_t kWidth = 768;
  const auto map = collapse(load_head(file, kWidth, {1024, 128, 64, 16}, at::kFloat), at::kCPU);
  const auto sines = at::arange(1, kWidth + 1, at::kDouble).sin();
  const auto x = at::stack({at::full({kWidth}, 1 / std::sqrt(static_cast<double>(kWidth)), at::kDouble),
                            at::eye(kWidth, at::kDouble)[0], sines / sines.norm()});
  const auto want = at::tensor({4.883285, 4.545052, 5.483880}, at::kFloat);
  CHECK((affine(map, x) - want).abs().max().item<double>() < 2e-5);
  CHECK(std::abs(map.bias.item<double>() - 5.236646) < 2e-5);
}

DRM_TEST_MAIN
