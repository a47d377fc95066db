// HPSv3 as a loaded judge: images of any size side by side, and what it refuses.
#include <ATen/ATen.h>

#include <limits>

#include "check.h"
#include "hpsv3_case.h"
#include "runtime/device.h"
#include "scorers/registry.h"
#include "temporary_folder.h"

using namespace drm;
using test::GoldenScorer, test::config_of, test::golden_scorers;

namespace {

/// A folder with the fixture's weights and a config in transformers' form.
struct Checkpoint {
  test::TemporaryFolder folder;
  GoldenScorer described{"hpsv3"};
  std::string weights = golden_scorers("hpsv3.safetensors");
  std::string config;
  Checkpoint() : config(write(config_of(described))) {}

  std::string write(const Hpsv3Config& k) const {
    const auto n = [](int64_t value) { return std::to_string(value); };
    return folder.write(
        "config.json",
        R"({"model_type": "qwen2_vl", "vocab_size": )" + n(k.text.vocab_size + 7) +  // the file's own counts
            R"(, "hidden_size": )" + n(k.text.hidden_size) + R"(, "intermediate_size": )" +
            n(k.text.intermediate_size) + R"(, "num_hidden_layers": )" + n(k.text.num_hidden_layers) +
            R"(, "num_attention_heads": )" + n(k.text.num_attention_heads) + R"(, "num_key_value_heads": )" +
            n(k.text.num_key_value_heads) + R"(, "max_position_embeddings": 400, "image_token_id": )" +
            n(k.image_token_id) + R"(, "reward_token_id": )" + n(k.reward_token_id) + R"(, "reward_head_sizes": [)" +
            n(k.head[0]) + ", " + n(k.head[1]) + R"(], "vision_config": {"depth": )" + n(k.vision.depth) +
            R"(, "embed_dim": )" + n(k.vision.embed_dim) + R"(, "num_heads": )" + n(k.vision.num_heads) +
            R"(, "hidden_size": )" + n(k.vision.hidden_size) + "}}");
  }
  ScorerSource source() const {
    const auto budget = std::to_string(described.size("budget"));
    return {"hpsv3", config, {weights}, "", R"({"min_pixels": )" + budget + R"(, "max_pixels": )" + budget + "}"};
  }
  /// Ids as TypeScript gives them: one image token, and what comes after the reward token.
  std::vector<int64_t> prompt() const {
    const auto k = config_of(described);
    return {1, 2, k.image_token_id, 3, 4, 5, k.reward_token_id, 6};
  }
};

Bitmap gradient(int64_t width, int64_t height) {
  Bitmap b{{}, height, width, 3};
  for (int64_t i = 0; i < width * height * 3; ++i) b.pixels.push_back(static_cast<uint8_t>(i * 7 + i / width));
  return b;
}

}  // namespace

TEST(the_scorer_judges_images_of_any_size_side_by_side) {
  const Checkpoint c;
  Control control;
  std::vector<std::pair<std::string, int64_t>> reports;
  control.on_progress = [&](const Progress& p) { reports.emplace_back(p.phase, p.step); };
  const auto scorer = load_scorer(c.source(), {}, control);
  CHECK_EQ(scorer->info().tokens, 400);
  CHECK_EQ(scorer->info().width, 0);
  auto other = c.prompt();
  other.insert(other.begin() + 3, {9, 9, 9});
  const std::vector<Bitmap> images{gradient(1, 1), gradient(300, 20), gradient(31, 64), gradient(1, 150)};
  const auto together = scorer->score({images, {c.prompt(), other}, {0, 1, 1, 0}}, control);
  CHECK(reports.back().first == "images" && reports.back().second == 4);
  CHECK_EQ(together.values.size(), 4U);
  CHECK_EQ(together.deviations.size(), 4U);
  for (size_t i = 0; i < images.size(); ++i) {
    const auto alone = scorer->score({{images[i]}, {i == 1 || i == 2 ? other : c.prompt()}, {0}}, control);
    CHECK(std::abs(alone.values[0] - together.values[i]) < 1e-5f);
    CHECK(std::abs(alone.deviations[0] - together.deviations[i]) < 1e-5f);
    CHECK(together.deviations[i] > 0);
    CHECK(i == 0 || together.values[i] != together.values[0]);
  }
  CHECK(scorer->score({}, control).values.empty());
}

TEST(a_cpu_that_lacks_16_bits_computes_in_fp32) {
  const Checkpoint c;
  Control control;
  const ImagesToScore request{{gradient(40, 30)}, {c.prompt()}, {0}};
  const auto exact = load_scorer(c.source(), {}, control)->score(request, control);
  LoadOptions options;
  options.dtype = "bf16";
  const auto low = load_scorer(c.source(), options, control);
  const auto got = low->score(request, control);
  if (cpu_multiplies(at::kBFloat16)) {
    CHECK_EQ(low->info().dtype, "bf16");
    CHECK(std::abs(got.values[0] - exact.values[0]) < 0.1f);
  } else {
    CHECK_EQ(low->info().dtype, "fp32");
    CHECK(got.values == exact.values);
  }
}

TEST(the_scorer_refuses_what_it_cannot_judge) {
  const Checkpoint c;
  Control control;
  const auto scorer = load_scorer(c.source(), {}, control);
  const auto k = config_of(c.described);
  const auto image = gradient(40, 30);
  const auto ask = [&](const std::vector<int64_t>& ids) { scorer->score({{image}, {ids}, {0}}, control); };
  EXPECT_FAILURE(BadRequest, ({"prompt 0", "one image token", "found 0 and one"}), ask({1, k.reward_token_id}));
  EXPECT_FAILURE(BadRequest, ({"found 2"}), ask({k.image_token_id, k.image_token_id, k.reward_token_id}));
  EXPECT_FAILURE(BadRequest, ({"found 1 and none"}), ask({k.image_token_id, 5}));
  EXPECT_FAILURE(BadRequest, ({"found 1 and one before it"}), ask({k.reward_token_id, k.image_token_id}));
  EXPECT_FAILURE(BadRequest, ({"found 0 and none"}), ask({}));
  EXPECT_FAILURE(BadRequest, ({"token id", "the vocabulary has"}),
                 ask({c.described.size("vocab"), k.image_token_id, k.reward_token_id}));
  EXPECT_FAILURE(BadRequest, ({"token id -1"}), ask({-1, k.image_token_id, k.reward_token_id}));
  auto book = c.prompt();
  for (int i = 0; i < 500; ++i) book.insert(book.begin(), 1);
  EXPECT_FAILURE(BadRequest, ({"at most 400 tokens", "shorten"}), ask(book));
  EXPECT_FAILURE(BadRequest, ({"expected one of 1"}), scorer->score({{image}, {c.prompt()}, {1}}, control));
  EXPECT_FAILURE(BadRequest, ({"a prompt for each of 1"}), scorer->score({{image}, {c.prompt()}, {}}, control));
  EXPECT_FAILURE(BadRequest, ({"at most 200 times"}), scorer->score({{gradient(1, 300)}, {c.prompt()}, {0}}, control));
  EXPECT_FAILURE(BadRequest, ({"1 channels"}),
                 scorer->score({{{std::vector<uint8_t>(100), 10, 10, 1}}, {c.prompt()}, {0}}, control));
  EXPECT_FAILURE(BadRequest, ({"[resize]"}),
                 scorer->score({{{std::vector<uint8_t>(5), 10, 10, 3}}, {c.prompt()}, {0}}, control));
  control.cancelled = true;
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), ask(c.prompt()));
}

TEST(files_that_are_none_of_it_are_refused_by_name) {
  Checkpoint c;
  Control control;
  const auto change = [&](const std::function<void(std::map<std::string, Tensor>&)>& how) {
    std::map<std::string, Tensor> all;
    const auto file = SafetensorsFile::open(golden_scorers("hpsv3.safetensors"));
    for (const auto& [name, info] : file->tensors()) all[name] = file->load(name);
    how(all);
    c.weights = c.folder.file("changed.safetensors");
    save_safetensors(c.weights, {all.begin(), all.end()});
    return c.source();
  };
  const auto load = [&](const ScorerSource& source) { return load_scorer(source, {}, control); };
  EXPECT_FAILURE(
      KeysMismatch, ({"rm_head.5.bias", "Qwen2-VL itself: fetch HPSv3.safetensors"}),
      load(change([](auto& all) { std::erase_if(all, [](auto& t) { return t.first.starts_with("rm_"); }); })));
  EXPECT_FAILURE(KeysMismatch, ({"unexpected", "logit_scale", "belong to the same model"}),
                 load(change([](auto& all) { all["logit_scale"] = at::ones({}); })));
  EXPECT_FAILURE(KeysMismatch, ({"unexpected", "surplus"}),
                 load(change([](auto& all) { all["surplus"] = at::ones({2}); })));
  auto clip = c.source();
  clip.weights = {golden_scorers("clip_h.hf.safetensors")};
  EXPECT_FAILURE(KeysMismatch, ({"these look like the weights of a CLIP"}), load(clip));
  // lm_head is in the published file and is not read; transformers 5 has other names.
  const auto renamed = load(change([](auto& all) {
    std::map<std::string, Tensor> theirs;
    for (auto& [name, t] : all)
      theirs[name.starts_with("visual.")  ? "model." + name
             : name.starts_with("model.") ? "model.language_model." + name.substr(6)
                                          : name] = t;
    theirs["lm_head.weight"] = at::ones({3, 3});
    all = theirs;
  }));
  const auto plain = load_scorer(Checkpoint().source(), {}, control);
  const ImagesToScore request{{gradient(40, 30)}, {c.prompt()}, {0}};
  // To rounding: products may take another way where a file's numbers lie at another address.
  CHECK(std::abs(renamed->score(request, control).values[0] - plain->score(request, control).values[0]) < 1e-5f);
  const auto damaged = load(change(
      [](auto& all) { all["model.layers.0.mlp.gate_proj.weight"].fill_(std::numeric_limits<float>::quiet_NaN()); }));
  EXPECT_FAILURE(NotFinite, ({"[hpsv3]", "damaged"}), damaged->score(request, control));
}

TEST(configs_that_cannot_be_are_refused) {
  const Checkpoint c;
  Control control;
  auto source = c.source();
  const auto tried = [&](const Hpsv3Config& k) {
    source.config = c.write(k);
    return load_scorer(source, {}, control);
  };
  const auto good = config_of(c.described);
  auto k = good;
  k.text.num_key_value_heads = k.text.num_attention_heads + 1;
  EXPECT_FAILURE(BadConfig, ({"config.json", "num_key_value_heads"}), tried(k));
  k = good;
  k.vision.hidden_size += 1;
  EXPECT_FAILURE(BadConfig, ({"whose hidden_size is the decoder's"}), tried(k));
  k = good;
  k.vision.num_heads = 7;
  EXPECT_FAILURE(BadConfig, ({"vision_config", "multiple of 4"}), tried(k));
  k = good;
  k.reward_token_id = k.text.vocab_size;
  EXPECT_FAILURE(BadConfig, ({"reward_token_id", "entries"}), tried(k));
  k = good;
  k.head[0] = 0;
  EXPECT_FAILURE(BadConfig, ({"reward_head_sizes"}), tried(k));
  source.config = c.folder.file("none.json");
  EXPECT_FAILURE(BadFile, ({"none.json"}), load_scorer(source, {}, control));
  source = Checkpoint().source();
  source.config = c.write(good);
  source.settings = R"({"min_pixels": 50, "max_pixels": 40})";
  EXPECT_FAILURE(BadRequest, ({"[hpsv3]", "50 and 40"}), load_scorer(source, {}, control));
}

DRM_TEST_MAIN
