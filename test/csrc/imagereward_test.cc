// ImageReward against transformers' BLIP and the authors' head (golden scorers), and the loaded scorer.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <set>
#include <sstream>

#include "check.h"
#include "scorer_fixture.h"
#include "scorers/imagereward_model.h"
#include "scorers/registry.h"
#include "temporary_folder.h"

using namespace drm;
using test::golden_scorers;
using test::GoldenScorer;
using test::TemporaryFolder;

namespace {

const char* kWeights = "imagereward.safetensors";

/// The tiny model of the golden case, in the form of configs/scorers/imagereward.json.
std::string config_text(const GoldenScorer& g) {
  std::ostringstream text;
  text.precision(17);
  const auto sizes = [&](std::initializer_list<std::pair<const char*, const char*>> fields) {
    for (const auto& [name, key] : fields) text << "\"" << name << "\": " << g.size(key) << ", ";
  };
  text << R"({"model_type": "blip", "vision_config": {)";
  sizes({{"hidden_size", "vw"},
         {"num_hidden_layers", "vl"},
         {"num_attention_heads", "vh"},
         {"image_size", "image"},
         {"patch_size", "patch"}});
  text << R"("intermediate_size": )" << 4 * g.size("vw") << R"(, "layer_norm_eps": )" << g.number("vit_eps")
       << R"(}, "text_config": {)";
  sizes({{"hidden_size", "tw"},
         {"num_hidden_layers", "tl"},
         {"num_attention_heads", "th"},
         {"intermediate_size", "tm"},
         {"vocab_size", "vocab"},
         {"max_position_embeddings", "maxpos"},
         {"encoder_hidden_size", "vw"}});
  text << R"("layer_norm_eps": )" << g.number("bert_eps") << R"(}, "head_config": {"hidden_sizes": [)";
  const auto& widths = g.list("mlp").items();
  for (size_t i = 0; i + 1 < widths.size(); ++i) text << (i ? ", " : "") << widths[i].as_int();
  text << R"(], "max_length": )" << g.size("maxlen") << R"(, "mean": )" << g.number("mean") << R"(, "std": )"
       << g.number("std") << "}}";
  return text.str();
}

struct Folder : TemporaryFolder {
  GoldenScorer golden{"imagereward"};
  std::string config = write("config.json", config_text(golden));
  ScorerSource source(const std::string& weights = golden_scorers(kWeights)) const {
    return {"imagereward", config, {weights}, "", ""};
  }
  ImageReward model() const {
    auto m = make_imagereward(read_imagereward_config(config));
    load_imagereward(m, Weights::open({golden_scorers(kWeights)}, plain), at::kFloat, at::kCPU);
    return m;
  }
  static KeyReading plain(const std::vector<std::string>& names) { return plain_keys(names, "", "ImageReward"); }
};

Tensor scores_of(const ImageReward& m, const Tensor& hidden) {
  return (affine(collapse(m.head, at::kCPU), hidden.select(1, 0)) - m.config.mean) / m.config.deviation;
}

/// An image of many frequencies; `seed` tells them apart.
Bitmap image(int64_t height, int64_t width, int seed) {
  Bitmap b{{}, height, width, 3};
  for (int64_t i = 0; i < height * width * 3; ++i)
    b.pixels.push_back(static_cast<uint8_t>(127 + 120 * std::sin(0.37 * static_cast<double>(i) * (1 + 0.3 * seed))));
  return b;
}

std::vector<int64_t> row(const Folder& f, std::vector<int64_t> ids) {
  ids.resize(static_cast<size_t>(f.golden.size("maxlen")));
  return ids;
}

}  // namespace

TEST(inner_states_equal_the_reference) {
  const at::NoGradGuard no_grad;
  const Folder f;
  const auto& g = f.golden;
  const auto m = f.model();
  const auto seen = blip_vision_forward(m.vision, g["pixel_values"]);
  CHECK(g.near(seen, "image_embeds", g.tolerance("features")));
  const auto hidden = imagereward_hidden(m, seen, g["input_ids"]);
  CHECK(g.near(hidden, "text_hidden", g.tolerance("features")));
  CHECK(g.near(affine(collapse(m.head, at::kCPU), hidden.select(1, 0)), "raw", g.tolerance("score")));
  CHECK(g.near(scores_of(m, hidden), "score", g.tolerance("score")));
}

TEST(known_mistakes_give_the_numbers_that_they_are_known_by) {
  const at::NoGradGuard no_grad;
  const Folder f;
  const auto& g = f.golden;
  const auto m = f.model();
  const auto seen = blip_vision_forward(m.vision, g["pixel_values"]);
  const auto ids = g["input_ids"];
  const auto tolerance = g.tolerance("score");
  const auto unmasked = scores_of(m, bert_forward(m.text, ids, at::ones_like(ids), seen));
  CHECK(g.near(unmasked, "neg_no_padding_mask", tolerance) && !g.near(unmasked, "score", 10 * tolerance));
  auto marked = ids.clone();
  marked.select(1, 0).fill_(g.size("vocab") - 1);  // [ENC], as other BLIP models begin
  const auto other = scores_of(m, imagereward_hidden(m, seen, marked));
  CHECK(g.near(other, "neg_enc_token", tolerance) && !g.near(other, "score", 10 * tolerance));
}

TEST(padding_is_what_ends_a_row) {
  const GoldenScorer g("imagereward");
  CHECK(at::equal(imagereward_mask(g["input_ids"], 0), g["attention_mask"]));
  const auto within = at::tensor({2, 0, 7, 0, 3, 0, 0}, at::kLong).unsqueeze(0);
  CHECK(at::equal(imagereward_mask(within, 0), at::tensor({1, 1, 1, 1, 1, 0, 0}, at::kLong).unsqueeze(0)));
}

TEST(published_config_has_the_published_size_and_keys) {
  auto m = make_imagereward(read_imagereward_config(test::shipped_config("imagereward")));
  // Published, but not read: projections of both towers to 256.
  const int64_t unread = (1024 + 1) * 256 + (768 + 1) * 256;
  CHECK_EQ(size_of(m).parameters + unread, 446665953);
  std::set<std::string> keys;
  each_tensor(m, [&](const std::string& name, Tensor&) { keys.insert(name); });
  // 12 tensors a block of the ViT and 5 of its own ends, class token and positions; 26 a layer of BERT and 4; the
  // head's.
  CHECK_EQ(keys.size(), 24u * 12 + 6 + 12u * 26 + 4 + 10);
  for (const char* key : {"blip.visual_encoder.cls_token", "blip.visual_encoder.pos_embed",
                          "blip.visual_encoder.patch_embed.proj.bias", "blip.visual_encoder.blocks.23.attn.qkv.bias",
                          "blip.visual_encoder.norm.weight", "blip.text_encoder.embeddings.LayerNorm.weight",
                          "blip.text_encoder.encoder.layer.11.crossattention.self.value.weight",
                          "blip.text_encoder.encoder.layer.11.attention.output.LayerNorm.bias",
                          "blip.text_encoder.encoder.layer.0.intermediate.dense.weight",
                          "blip.text_encoder.encoder.layer.0.output.dense.weight", "mlp.layers.7.bias"})
    if (!keys.contains(key)) test::fail(__FILE__, __LINE__, std::string("no key ") + key);
  CHECK_EQ(m.config.mean, 0.16717362830052426);
  CHECK_EQ(m.config.deviation, 1.0333394966054072);
}

TEST(pairs_are_scored_one_by_one_and_together_alike) {
  const Folder f;
  Control control;
  const auto scorer = load_scorer(f.source(), {}, control);
  CHECK_EQ(scorer->info().tokens, f.golden.size("maxlen"));
  CHECK_EQ(scorer->info().image_size, f.golden.size("image"));
  const std::vector<Bitmap> images = {image(20, 33, 0), image(60, 41, 1), image(70, 70, 2)};
  const std::vector<std::vector<int64_t>> prompts = {row(f, {2, 7, 8, 3}), row(f, {2, 9, 10, 11, 12, 3}),
                                                     row(f, {2, 3})};
  // More pairs than a pass takes, images and prompts mixed: an image is seen once, and each score finds its place.
  ImagesToScore many{{}, prompts, {}};
  for (size_t i = 0; i < 300; ++i) {
    many.images.push_back(images[(i * i) % 3]);
    many.prompt_of.push_back(static_cast<int64_t>((i / 2) % 3));
  }
  std::vector<std::pair<std::string, int64_t>> reports;
  control.on_progress = [&](const Progress& p) { reports.emplace_back(p.phase, p.step); };
  const auto all = scorer->score(many, control).values;
  CHECK_EQ(all.size(), 300u);
  CHECK(reports.size() >= 2 && reports.back().first == "images" && reports.back().second == 300);
  std::map<std::pair<size_t, size_t>, float> alone;
  for (size_t i = 0; i < 3; ++i)
    for (size_t p = 0; p < 3; ++p) alone[{i, p}] = scorer->score({{images[i]}, {prompts[p]}, {0}}, control).values[0];
  for (size_t i = 0; i < 300; ++i) CHECK(std::abs(all[i] - alone[{(i * i) % 3, (i / 2) % 3}]) < 1e-5f);
  CHECK(std::abs(alone[{0, 0}] - alone[{1, 0}]) > 1e-3f && std::abs(alone[{0, 0}] - alone[{0, 1}]) > 1e-3f);
  CHECK(scorer->score({}, control).values.empty());
  control.cancelled = true;
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), scorer->score(many, control));
}

TEST(low_precision_gives_nearly_the_same_scores) {
  const Folder f;
  Control control;
  const ImagesToScore request{{image(48, 48, 0), image(48, 60, 3)}, {row(f, {2, 7, 8, 3})}, {0, 0}};
  const auto exact = load_scorer(f.source(), {}, control)->score(request, control).values;
  // What the head makes of a relative error of one bf16 step in hidden states of about one.
  const auto m = f.model();
  const auto step = collapse(m.head, at::kCPU).weight.abs().sum().item<double>() / 256 / m.config.deviation;
  for (const char* dtype : {"bf16", "fp16"}) {
    LoadOptions options;
    options.dtype = dtype;
    const auto low = load_scorer(f.source(), options, control)->score(request, control).values;
    for (size_t i = 0; i < 2; ++i) CHECK(std::abs(low[i] - exact[i]) < 4 * step && low[i] != exact[i]);
  }
}

TEST(what_cannot_be_judged_is_refused) {
  const Folder f;
  Control control;
  const auto scorer = load_scorer(f.source(), {}, control);
  const auto good = row(f, {2, 7, 3});
  const auto score = [&](const Bitmap& picture, const std::vector<int64_t>& ids, int64_t prompt = 0) {
    return scorer->score({{picture}, {ids}, {prompt}}, control);
  };
  const auto picture = image(8, 8, 0);
  auto longer = good;
  longer.push_back(3);
  EXPECT_FAILURE(BadRequest, ({"[imagereward] caption 0", "expected " + std::to_string(good.size())}),
                 score(picture, longer));
  const auto vocabulary = f.golden.size("vocab");
  EXPECT_FAILURE(BadRequest, ({"token id " + std::to_string(vocabulary), "do not belong together"}),
                 score(picture, row(f, {2, vocabulary, 3})));
  EXPECT_FAILURE(BadRequest, ({"token id -1"}), score(picture, row(f, {2, -1, 3})));
  EXPECT_FAILURE(BadRequest, ({"caption 0", "padding alone"}), score(picture, row(f, {})));
  EXPECT_FAILURE(BadRequest, ({"prompt 1", "one of 1"}), score(picture, good, 1));
  EXPECT_FAILURE(BadRequest, ({"a prompt for each of 1"}), scorer->score({{picture}, {good}, {}}, control));
  EXPECT_FAILURE(BadRequest, ({"[resize]"}), score({std::vector<uint8_t>(5), 2, 2, 3}, good));
  EXPECT_FAILURE(BadRequest, ({"no features of images"}), scorer->image_features({picture}, control));
  // One row of pixels is an image; so long a one that its shorter side cannot become the square's is told.
  CHECK(std::isfinite(score(image(1, 9, 0), good).values[0]));
  CHECK(std::isfinite(score(image(9, 1, 0), good).values[0]));
  EXPECT_FAILURE(BadRequest, ({"[resize]", "65536"}), score(image(1, 60000, 0), good));
}

TEST(other_and_damaged_weights_are_told) {
  const Folder f;
  Control control;
  EXPECT_FAILURE(KeysMismatch, ({"missing", "the aesthetic predictor's head"}),
                 load_scorer(f.source(golden_scorers("aesthetic.safetensors")), {}, control));
  EXPECT_FAILURE(KeysMismatch, ({"wide"}), load_scorer(f.source(golden_scorers("clip_l.hf.safetensors")), {}, control));
  // As the release has it: a checkpoint of torch.save, which is read, and here holds another model's tensors.
  EXPECT_FAILURE(KeysMismatch, ({"missing", "blip.visual_encoder.cls_token", "unexpected"}),
                 load_scorer(f.source(std::string(DRM_TEST_DATA) + "/pickle/trained_zip.pt"), {}, control));
  auto big = f.source();
  big.config = test::shipped_config("imagereward");
  EXPECT_FAILURE(KeysMismatch, ({"of another shape", "weights of ImageReward"}), load_scorer(big, {}, control));
  test::save_damaged(golden_scorers(kWeights), f.file("damaged.safetensors"), "blip.visual_encoder.norm.bias");
  const auto damaged = load_scorer(f.source(f.file("damaged.safetensors")), {}, control);
  EXPECT_FAILURE(NotFinite, ({"[imagereward] images", "damaged"}),
                 damaged->score({{image(8, 8, 0)}, {row(f, {2, 3})}, {0}}, control));
}

TEST(configs_that_do_not_fit_are_told) {
  const Folder f;
  Control control;
  const auto load = [&](const std::string& text) {
    auto source = f.source();
    source.config = f.write("other.json", text);
    load_scorer(source, {}, control);
  };
  const auto text = config_text(f.golden);
  const auto with = [&](const std::string& from, const std::string& to) {
    auto changed = text;
    const auto at = changed.find(from);
    CHECK(at != std::string::npos);
    return changed.replace(at, from.size(), to);
  };
  EXPECT_FAILURE(BadConfig, ({"head_config", "expected an object"}), load(with("head_config", "some_config")));
  EXPECT_FAILURE(BadConfig, ({"layer_norm_eps"}), load(with("\"layer_norm_eps\"", "\"eps\"")));
  EXPECT_FAILURE(BadConfig, ({"hidden_act", "gelu"}),
                 load(with("\"text_config\": {", R"("text_config": {"hidden_act": "relu", )")));
  EXPECT_FAILURE(BadConfig, ({"max_length of 2"}), load(with("\"max_length\": ", "\"max_length\": 9")));
  EXPECT_FAILURE(BadConfig, ({"hidden_sizes", "4 positive widths"}),
                 load(with("\"hidden_sizes\": [", "\"hidden_sizes\": [8, ")));
  EXPECT_FAILURE(BadConfig, ({"encoder_hidden_size", "equal to"}),
                 load(with("\"encoder_hidden_size\": ", "\"encoder_hidden_size\": 1")));
  auto missing = f.source();
  missing.config = f.file("none.json");
  EXPECT_FAILURE(BadFile, ({"none.json"}), load_scorer(missing, {}, control));
}

DRM_TEST_MAIN
