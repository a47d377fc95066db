// MPS against its authors' modules (golden scorers), and the loaded scorer.
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "scorers/mps_model.h"
#include "scorers/registry.h"
#include "scorers_golden.h"

using namespace drm;
using namespace drm::test;

namespace {

MpsConfig golden_config() {
  const auto sizes = *scorer_case("mps").find("config");
  const auto n = [&](const char* key) { return sizes.find(key)->as_int(); };
  MpsConfig c{clip_config(*sizes.find("clip")), {}};
  c.cross = {n("dim"), n("layers"), n("heads"), n("dim_head"), n("ff_mult")};
  return c;
}

std::string weights_file() {
  return scorers_golden() + scorer_case("mps").find("weights")->items().front().as_string();
}

MpsModel golden_model(at::ScalarType dtype = at::kFloat) {
  auto m = make_mps_model(golden_config());
  const auto read = [](const std::vector<std::string>& names) { return plain_keys(names, "", "MPS"); };
  load_mps_model(m, Weights::open({weights_file()}, read), dtype, at::kCPU);
  return m;
}

double largest_gap(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

struct Judged {
  Tensor similarity, keep, seen, scores;
};

Judged judge(const MpsModel& m, const Io& io, double threshold) {
  const auto texts = mps_texts(m, io["input_ids"]);
  Judged j;
  j.similarity = condition_similarity(texts.tokens, mps_texts(m, io["condition_ids"]).tokens);
  j.keep = j.similarity.gt(threshold);
  j.scores = mps_scores(m, mps_image_tokens(m, io["pixel_values"]), texts, j.keep, &j.seen);
  return j;
}

}  // namespace

TEST(inner_states_and_scores_equal_the_authors) {
  const at::NoGradGuard no_grad;
  const auto m = golden_model();
  const Io io{.name = "mps"};
  const auto tolerance = *scorer_case("mps").find("tolerance");
  const auto features = tolerance.find("features")->as_double(), score = tolerance.find("score")->as_double();
  close(mps_image_tokens(m, io["pixel_values"]), io["image_tokens"], features, "image_tokens");
  const auto texts = mps_texts(m, io["input_ids"]);
  close(texts.tokens, io["text_tokens"], features, "text_tokens");
  close(texts.end, io["text_eos"], features, "text_eos");
  const auto condition = io["condition_tokens"];
  close(mps_texts(m, io["condition_ids"]).tokens.expand_as(condition), condition, features, "condition_tokens");
  const auto usual = judge(m, io, scorer_case("mps").find("config")->find("threshold")->as_double());
  close(usual.similarity, io["similarity"], features, "similarity");
  CHECK(at::equal(usual.keep.to(at::kLong), io["mask"]));
  close(usual.seen, io["cross_cls"], features, "cross_cls");
  close(usual.scores, io["score"], score, "score");
  const auto other = judge(m, io, 0.01);
  CHECK(at::equal(other.keep.to(at::kLong), io["mask_threshold_001"]));
  close(other.scores, io["score_threshold_001"], score, "score_threshold_001");
  const auto controls = *scorer_case("mps").find("negative_controls");
  for (const auto& control : controls.items()) CHECK(largest_gap(usual.scores, io[control.as_string()]) > 10 * score);
}

TEST(known_mistakes_are_the_negative_controls) {
  const at::NoGradGuard no_grad;
  const auto m = golden_model();
  const Io io{.name = "mps"};
  const auto texts = mps_texts(m, io["input_ids"]);
  const auto everything = at::ones_like(io["input_ids"]).to(at::kBool);
  close(mps_scores(m, mps_image_tokens(m, io["pixel_values"]), texts, everything), io["neg_no_condition_mask"], 5e-4,
        "without the mask");
}

TEST(half_precision_is_near_and_ranks_alike) {
  const at::NoGradGuard no_grad;
  const Io io{.name = "mps"};
  const auto exact = io["score"];
  for (const auto& [dtype, tolerance] : {std::pair(at::kBFloat16, 2.0), {at::kHalf, 0.25}}) {
    // The mask is fp32's: a token on the edge falls to either side when the towers are rounded.
    const auto m = golden_model(dtype);
    const auto scores =
        mps_scores(m, mps_image_tokens(m, io["pixel_values"]), mps_texts(m, io["input_ids"]), io["mask"].to(at::kBool));
    CHECK(scores.scalar_type() == at::kFloat);
    const auto worst = largest_gap(scores, exact);
    if (!(worst < tolerance && worst > 0))
      test::fail(__FILE__, __LINE__, std::string(toString(dtype)) + ": off by " + std::to_string(worst));
    CHECK(at::equal(at::argsort(scores, int64_t{-1}), at::argsort(exact, int64_t{-1})));
  }
}

TEST(the_published_model_has_the_published_size) {
  auto m = make_mps_model(read_mps_config(kScorerConfigs + "mps.json"));
  CHECK_EQ(size_of(m).parameters, 1104606721);
  std::vector<std::string> names;
  each_tensor(m, [&](const std::string& name, Tensor&) { names.push_back(name); });
  CHECK_EQ(names.size(), 910u + 4 * (7 + 5));
  const auto has = [&](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  CHECK(has("model.visual_projection.weight") && has("model.logit_scale"));
  CHECK(has("cross_model.layers.3.0.fn.norm.bias") && has("cross_model.layers.3.1.fn.ff_out.1.weight"));
}

namespace {

/// The golden model's config as a file beside its weights, removed at the end.
struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "drm_mps_test").string();
  MpsConfig c = golden_config();
  Folder() {
    std::filesystem::create_directories(path);
    const auto tower = [](const ClipTowerConfig& t) {
      return R"("hidden_size": )" + std::to_string(t.hidden_size) + R"(, "intermediate_size": )" +
             std::to_string(t.intermediate_size) + R"(, "num_hidden_layers": )" + std::to_string(t.num_hidden_layers) +
             R"(, "num_attention_heads": )" + std::to_string(t.num_attention_heads) + R"(, "hidden_act": "gelu")";
    };
    std::ofstream(path + "/config.json") << R"({"projection_dim": )" << c.clip.text.projection_dim
                                         << R"(, "text_config": {)" << tower(c.clip.text) << R"(, "vocab_size": )"
                                         << c.clip.text.vocab_size << R"(, "max_position_embeddings": )"
                                         << c.clip.text.max_position_embeddings << R"(, "eos_token_id": )"
                                         << c.clip.text.eos_token_id << R"(}, "vision_config": {)"
                                         << tower(c.clip.vision) << R"(, "image_size": )" << c.clip.vision.image_size
                                         << R"(, "patch_size": )" << c.clip.vision.patch_size
                                         << R"(}, "cross_model": {"layers": )" << c.cross.layers << R"(, "heads": )"
                                         << c.cross.heads << R"(, "head_channels": )" << c.cross.head_channels
                                         << R"(, "mlp_ratio": )" << c.cross.mlp_ratio << "}}";
  }
  ~Folder() { std::filesystem::remove_all(path); }

  /// Ids of row `row` of a tensor of the case.
  static std::vector<int64_t> ids(const char* tensor, int64_t row) {
    const auto t = Io{.name = "mps"}[tensor][row].contiguous();
    return {t.const_data_ptr<int64_t>(), t.const_data_ptr<int64_t>() + t.numel()};
  }
  ScorerSource source(const std::string& more = "") const {
    std::string condition;
    for (const auto id : ids("condition_ids", 0)) condition += (condition.empty() ? "" : ",") + std::to_string(id);
    return {"mps", path + "/config.json", {weights_file()}, "", R"({"condition": [)" + condition + "]" + more + "}"};
  }
  int64_t side() const { return c.clip.vision.image_size; }
};

Bitmap picture(int64_t side, uint32_t state) {
  Bitmap b{{}, side, side, 3};
  for (int64_t i = 0; i < side * side * 3; ++i) {
    state = state * 1664525 + 1013904223;
    b.pixels.push_back(static_cast<uint8_t>(state >> 24));
  }
  return b;
}

}  // namespace

TEST(the_scorer_judges_each_pair_as_the_model_does_alone) {
  const at::NoGradGuard no_grad;
  const Folder folder;
  Control control;
  const auto scorer = load_scorer(folder.source(), {}, control);
  CHECK_EQ(scorer->info().tokens, folder.c.clip.text.max_position_embeddings);
  CHECK(std::abs(scorer->info().logit_scale - std::log(100.0)) < 1e-3);
  const auto m = golden_model();
  const auto condition = mps_texts(m, Io{.name = "mps"}["condition_ids"]).tokens;
  // More pairs than a pass, images and prompts repeated and out of order, some of them not asked for at all.
  ImagesToScore r;
  for (uint32_t i = 0; i < 7; ++i) r.images.push_back(picture(folder.side(), i % 5));
  for (const int64_t row : {1, 0, 1, 2}) r.prompts.push_back(Folder::ids("input_ids", row));
  while (r.images.size() < 400) r.images.push_back(r.images[r.images.size() % 7]);
  for (size_t i = 0; i < r.images.size(); ++i) r.prompt_of.push_back(static_cast<int64_t>(i * 5 % 3));
  const auto scores = scorer->score(r, control).values;
  CHECK_EQ(scores.size(), r.images.size());
  for (const size_t i : {0, 1, 2, 3, 6, 77, 399}) {
    const auto& image = r.images[i];
    const auto bytes =
        at::from_blob(const_cast<uint8_t*>(image.pixels.data()), {1, image.height, image.width, 3}, at::kByte);
    const auto ids = at::tensor(r.prompts[static_cast<size_t>(r.prompt_of[i])], at::kLong).unsqueeze(0);
    const auto texts = mps_texts(m, ids);
    const auto want = mps_scores(m, mps_image_tokens(m, clip_pixels(bytes)), texts,
                                 condition_similarity(texts.tokens, condition).gt(0.3));
    CHECK(std::abs(scores[i] - want.item<float>()) < 1e-3f);
  }
  CHECK(std::abs(scores[0] - scores[1]) > 0.1f);
}

TEST(the_threshold_is_a_setting) {
  const Folder folder;
  Control control;
  const auto usual = load_scorer(folder.source(), {}, control);
  const auto same = load_scorer(folder.source(R"(, "threshold": 0.3)"), {}, control);
  const auto other = load_scorer(folder.source(R"(, "threshold": 0.01)"), {}, control);
  const ImagesToScore r{{picture(folder.side(), 3)}, {Folder::ids("input_ids", 0)}, {0}};
  const auto score = usual->score(r, control).values[0];
  CHECK_EQ(same->score(r, control).values[0], score);
  CHECK(std::abs(other->score(r, control).values[0] - score) > 1e-3f);
  EXPECT_FAILURE(BadConfig, ({"threshold", "0 to below 1"}),
                 load_scorer(folder.source(R"(, "threshold": 1)"), {}, control));
}

TEST(the_scorer_refuses_what_it_cannot_judge) {
  const Folder folder;
  Control control;
  const auto scorer = load_scorer(folder.source(), {}, control);
  const std::vector<Bitmap> images{picture(folder.side(), 3)};
  auto ids = Folder::ids("input_ids", 0);
  EXPECT_FAILURE(BadRequest, ({"a prompt for each of 1"}), scorer->score({images, {ids}, {}}, control));
  EXPECT_FAILURE(BadRequest, ({"prompt 1", "one of 1"}), scorer->score({images, {ids}, {1}}, control));
  EXPECT_FAILURE(BadRequest, ({"caption 0", "found 2"}), scorer->score({images, {{1, 2}}, {0}}, control));
  ids.back() = 0;
  EXPECT_FAILURE(BadRequest, ({"caption 1", "padding", "found 0"}),
                 scorer->score({images, {Folder::ids("input_ids", 1), ids}, {0}}, control));
  ids.assign(ids.size(), 3);
  EXPECT_FAILURE(BadRequest, ({"caption 0", "end token"}), scorer->score({images, {ids}, {0}}, control));
  ids.back() = 1 << 20;
  EXPECT_FAILURE(BadRequest, ({"token id 1048576"}), scorer->score({images, {ids}, {0}}, control));
  EXPECT_FAILURE(BadRequest, ({"no features of images"}), scorer->image_features(images, control));
  CHECK(scorer->score({{}, {}, {}}, control).values.empty());
}

TEST(files_and_settings_that_do_not_fit_are_refused) {
  const Folder folder;
  Control control;
  auto source = folder.source();
  source.weights = {scorers_golden() + "clip_h.hf.safetensors"};
  EXPECT_FAILURE(KeysMismatch, ({"model.logit_scale", "a CLIP whose text tower is 32 wide"}),
                 load_scorer(source, {}, control));
  source = folder.source();
  source.kind = "clip";
  EXPECT_FAILURE(KeysMismatch, ({"look like the weights of MPS"}), load_scorer(source, {}, control));
  source = folder.source();
  source.settings = "";
  EXPECT_FAILURE(BadConfig, ({"condition", "settings of the scorer mps"}), load_scorer(source, {}, control));
  source.settings = R"({"condition": [1, 2]})";
  EXPECT_FAILURE(BadRequest, ({"[mps]", "found 2"}), load_scorer(source, {}, control));
  source = folder.source();
  source.config = kScorerConfigs + "clip-vit-h-14.json";
  EXPECT_FAILURE(BadConfig, ({"cross_model", "expected an object"}), load_scorer(source, {}, control));
  source.config = folder.path + "/none.json";
  EXPECT_FAILURE(BadFile, ({"none.json"}), load_scorer(source, {}, control));
}

DRM_TEST_MAIN
