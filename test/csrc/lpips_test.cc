// LPIPS against the reference (golden scorers), stage by stage; the scorer that compares images with it.
#include "scorers/lpips.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "check.h"
#include "scorers/pair_features.h"
#include "scorers/registry.h"
#include "temporary_folder.h"
#include "tensor_io/safetensors.h"

using namespace drm;

namespace {

std::string golden() {
  const char* root = std::getenv("DRM_GOLDEN");
  return std::string(root && *root ? root : DRM_GOLDEN) + "/scorers/";
}

const char* const kCases[] = {"lpips_alex", "lpips_vgg"};

/// A case's network, widths and tolerance, from its own description.
struct Case {
  LpipsConfig config;
  double tolerance = 0, rtol = 0;
  explicit Case(const std::string& name) {
    const auto json = Json::read(golden() + "config.json");
    const auto* described = json.find("cases")->find(name);
    config.network = name == "lpips_vgg" ? LpipsNetwork::Vgg : LpipsNetwork::Alex;
    const auto& widths = described->find("config")->find("channels")->items();
    for (size_t i = 0; i < widths.size(); ++i) config.channels.at(i) = widths[i].as_int();
    tolerance = described->find("tolerance")->find("score")->as_double();
    rtol = json.find("rtol")->as_double();
  }
  void close(const Tensor& got, const Tensor& want, const std::string& what) const {
    CHECK(got.sizes() == want.sizes());
    const auto excess = ((got - want).abs() - tolerance - rtol * want.abs()).max().item<double>();
    if (!(excess <= 0)) test::fail(__FILE__, __LINE__, what + ": beyond the tolerance by " + std::to_string(excess));
  }
};

std::string weights_of(const std::string& name) { return golden() + name + ".safetensors"; }

Lpips load(const std::string& name) {
  auto m = make_lpips(Case(name).config);
  load_lpips(m, Weights::open({weights_of(name)}, lpips_keys()), at::kFloat, at::kCPU);
  return m;
}

Tensor io(const std::string& name) {
  static const auto file = SafetensorsFile::open(golden() + "io.safetensors");
  return file->load(name);
}

/// An RGB image without symmetries.
Bitmap image_of(int64_t height, int64_t width, int64_t seed) {
  Bitmap b{{}, height, width, 3};
  for (int64_t i = 0; i < height * width * 3; ++i)
    b.pixels.push_back(static_cast<uint8_t>((i * i * 31 + (i / (3 * width)) * seed * 17 + seed * 71) >> 3));
  return b;
}

/// The scorer of a golden case; its config is written for it.
struct Folder {
  test::TemporaryFolder folder;
  ScorerSource source;
  explicit Folder(const std::string& name, const std::string& settings = "") {
    const Case c(name);
    std::string widths;
    for (const auto width : c.config.channels) widths += (widths.empty() ? "" : ", ") + std::to_string(width);
    const auto network = c.config.network == LpipsNetwork::Vgg ? "vgg" : "alex";
    source = {"lpips",
              config(R"({"network": ")" + std::string(network) + R"(", "channels": [)" + widths + "]}"),
              {weights_of(name)},
              "",
              settings};
  }
  std::string config(const std::string& text) const { return folder.write("config.json", text); }
  std::shared_ptr<Scorer> load() const {
    Control control;
    return load_scorer(source, {}, control);
  }
};

std::vector<std::string> keys_of(Lpips& m) {
  std::vector<std::string> keys;
  each_tensor(m, [&](const std::string& key, Tensor&) { keys.push_back(key); });
  return keys;
}

}  // namespace

TEST(stages_and_distances_equal_the_reference) {
  const at::NoGradGuard no_grad;
  for (const std::string name : kCases) {
    const Case c(name);
    const auto m = load(name);
    for (const std::string k : {"0", "1"}) {
      const auto images = io("lpips/image_" + k);
      std::vector<Tensor> means;
      const Observer see = [&](const std::string&, const Tensor& stage) {
        CHECK_EQ(stage.size(1), io(name + "/tap_shapes_" + k)[static_cast<int64_t>(means.size())][0].item<int64_t>());
        CHECK_EQ(stage.size(2), io(name + "/tap_shapes_" + k)[static_cast<int64_t>(means.size())][1].item<int64_t>());
        CHECK_EQ(stage.size(3), io(name + "/tap_shapes_" + k)[static_cast<int64_t>(means.size())][2].item<int64_t>());
        means.push_back(stage[0].mean());
      };
      // Images 0 1, 0 2, 1 2 and 0 0, as the case has them.
      const auto first = lpips_features(m, images.index_select(0, at::tensor({0, 0, 1, 0}, at::kLong)), &see);
      const auto second = lpips_features(m, images.index_select(0, at::tensor({1, 2, 2, 0}, at::kLong)));
      c.close(at::stack(means), io(name + "/tap_mean_" + k), name + " tap_mean_" + k);
      const auto stages = lpips_by_stage(m, first, second);
      c.close(stages, io(name + "/per_layer_" + k), name + " per_layer_" + k);
      const auto values = stages.sum(1);
      c.close(values, io(name + "/value_" + k), name + " value_" + k);
      c.close(values.slice(0, 0, 3).mean(), io(name + "/diversity_" + k), name + " diversity_" + k);
    }
  }
}

TEST(the_flat_corner_tells_the_epsilons_apart) {
  const at::NoGradGuard no_grad;
  // Where no channel answers, or hardly any: 1e-8 inside the root, as some reimplementations have it, is another
  // distance.
  auto m = load("lpips_alex");
  for (auto& c : m.stages[0].convolutions) {
    c.conv.weight.mul_(1e-5);
    c.conv.bias.mul_(1e-5);
  }
  const auto unit = lpips_features(m, io("lpips/image_0"))[0].square().sum(1).sqrt();
  CHECK(unit.max().item<double>() > 0.9999 && unit.max().item<double>() < 1.0001);
  CHECK(unit.mean().item<double>() > 0.9);
}

TEST(pixels_are_bytes_between_minus_one_and_one) {
  const auto x = lpips_pixels(at::tensor({0, 255, 51}, at::kByte).view({1, 1, 1, 3}));
  CHECK(at::equal(x.flatten(), at::tensor({-1.f, 1.f, 51 / 127.5f - 1})));
}

TEST(published_networks_have_the_published_sizes) {
  struct Published {
    const char* config;
    int64_t parameters;
    size_t tensors;
    std::vector<std::string> some;
  };
  // Parameters of torchvision's `features` (2,469,696 and 14,714,688) and of the lin weights, whose files hold 1,152
  // and 1,472 numbers.
  for (const auto& want :
       {Published{
            "lpips-alex", 2469696 + 1152, 2 * 5 + 5, {"features.0.weight", "features.10.bias", "lin4.model.1.weight"}},
        Published{"lpips-vgg",
                  14714688 + 1472,
                  2 * 13 + 5,
                  {"features.2.weight", "features.28.bias", "lin0.model.1.weight"}}}) {
    const auto file = std::string(DRM_GOLDEN) + "/../../configs/scorers/" + want.config + ".json";
    auto m = make_lpips(read_lpips_config(file));
    CHECK_EQ(size_of(m).parameters, want.parameters);
    const auto keys = keys_of(m);
    CHECK_EQ(keys.size(), want.tensors);
    for (const auto& key : want.some) CHECK(std::find(keys.begin(), keys.end(), key) != keys.end());
  }
}

TEST(published_lin_weights_have_the_published_sums) {
  const char* folder = std::getenv("DRM_SCORERS");
  if (!folder || !*folder) {
    std::printf("SKIPPED: lin sums of the published LPIPS v0.1; DRM_SCORERS names the folder of published scorers\n");
    return;
  }
  for (const auto& [network, file] : {std::pair(LpipsNetwork::Alex, "/lpips/alex-lin.safetensors"),
                                      {LpipsNetwork::Vgg, "/lpips-vgg/vgg-lin.safetensors"}}) {
    auto m = make_lpips(published_lpips(network));
    std::vector<WantedTensor> lins;
    for (auto& one : wanted(m))
      if (one.key.rfind("lin", 0) == 0) lins.push_back(one);
    Weights::open({std::string(folder) + file}, lpips_keys()).fill(lins, at::kFloat, at::kCPU);
    const auto sums = lin_sums(m), want = published_lin_sums(network);
    for (size_t i = 0; i < sums.size(); ++i) CHECK(std::abs(sums[i] - want[i]) < 1e-5 * want[i]);
  }
}

TEST(the_scorer_compares_images_as_the_network_does) {
  const at::NoGradGuard no_grad;
  for (const std::string name : kCases) {
    const Folder folder(name);
    const auto scorer = folder.load();
    CHECK(scorer->info().parameters > 0 && scorer->info().tokens == 0);
    const auto m = load(name);
    const std::vector<Bitmap> images = {image_of(48, 40, 1), image_of(48, 40, 2), image_of(33, 57, 3),
                                        image_of(33, 57, 4), image_of(48, 40, 1)};
    Control control;
    std::vector<int64_t> told;
    control.on_progress = [&](const Progress& p) {
      CHECK_EQ(p.phase, std::string("pairs"));
      told.push_back(p.step);
    };
    const auto got = scorer->distances(images, {{0, 1}, {2, 3}, {1, 0}, {3, 2}, {0, 0}, {0, 4}}, control);
    CHECK_EQ(got.size(), 6u);
    CHECK(told == (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
    const auto direct = [&](size_t a, size_t b) {
      const auto pixels = [&](const Bitmap& image) {
        return lpips_pixels(at::tensor(image.pixels, at::kByte).view({1, image.height, image.width, 3}));
      };
      return lpips_by_stage(m, lpips_features(m, pixels(images[a])), lpips_features(m, pixels(images[b])))
          .sum()
          .item<float>();
    };
    CHECK(std::abs(got[0] - direct(0, 1)) < 1e-6f && std::abs(got[1] - direct(2, 3)) < 1e-6f);
    CHECK(got[0] > 1e-3f && got[1] > 1e-3f);
    // Symmetric, and nothing between equal images, to the bit: also of two that are equal without being one.
    CHECK(got[2] == got[0] && got[3] == got[1]);
    CHECK(got[4] == 0 && got[5] == 0);
  }
}

TEST(little_room_changes_no_distance) {
  std::vector<Bitmap> images;
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (int64_t i = 0; i < 5; ++i) {
    images.push_back(image_of(32, 32, i));
    for (int64_t j = 0; j < i; ++j) pairs.emplace_back(j, i);
  }
  Control control;
  const auto want = Folder("lpips_alex").load()->distances(images, pairs, control);
  CHECK(Folder("lpips_alex", R"({"feature_mb": 0})").load()->distances(images, pairs, control) == want);
  EXPECT_FAILURE(BadConfig, ({"feature_mb", "-1"}), Folder("lpips_alex", R"({"feature_mb": -1})").load());
}

TEST(features_are_computed_once_where_there_is_room) {
  // Two prompts of four images each: all pairs of the one, then of the other.
  PairFeatures::Pairs pairs;
  for (const int64_t first : {0, 4})
    for (int64_t i = first; i < first + 4; ++i)
      for (int64_t j = i + 1; j < first + 4; ++j) pairs.emplace_back(i, j);
  const auto computed_with = [&](int64_t bytes) {
    std::vector<int64_t> computed;
    PairFeatures features(pairs, bytes, [&](int64_t image) {
      computed.push_back(image);
      return PairFeatures::Stages{at::full({25}, static_cast<float>(image))};  // 100 bytes
    });
    for (size_t i = 0; i < pairs.size(); ++i) {
      const auto [a, b] = features.of(i);
      CHECK_EQ(a[0][0].item<int64_t>(), pairs[i].first);
      CHECK_EQ(b[0][0].item<int64_t>(), pairs[i].second);
    }
    return computed;
  };
  CHECK(computed_with(400) == (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  // Beside a pair's own two one more of a prompt's four has to stay; without that room two of them are computed again.
  CHECK_EQ(computed_with(300).size(), 8u);
  CHECK_EQ(computed_with(200).size(), 12u);
  CHECK_EQ(computed_with(0).size(), 2 * pairs.size());
}

TEST(what_cannot_be_compared_is_said) {
  const auto alex = Folder("lpips_alex").load(), vgg = Folder("lpips_vgg").load();
  Control control;
  const auto of = [&](const Scorer& scorer, std::vector<Bitmap> images, std::pair<int64_t, int64_t> pair) {
    return const_cast<Scorer&>(scorer).distances(images, {pair}, control);
  };
  CHECK(alex->distances({}, {}, control).empty());
  EXPECT_FAILURE(BadRequest, ({"[lpips]", "one size", "40 x 48", "48 x 40"}),
                 of(*alex, {image_of(48, 40, 1), image_of(40, 48, 1)}, {0, 1}));
  EXPECT_FAILURE(BadRequest, ({"image 0", "at least 31", "64 x 1"}), of(*alex, {image_of(1, 64, 1)}, {0, 0}));
  EXPECT_FAILURE(BadRequest, ({"at least 31", "30 x 64"}), of(*alex, {image_of(64, 30, 1)}, {0, 0}));
  EXPECT_FAILURE(BadRequest, ({"at least 16", "15 x 16"}), of(*vgg, {image_of(16, 15, 1)}, {0, 0}));
  CHECK(of(*alex, {image_of(31, 31, 1)}, {0, 0}) == (std::vector<float>{0}));  // the smallest that there are
  CHECK(of(*vgg, {image_of(16, 16, 1)}, {0, 0}) == (std::vector<float>{0}));
  EXPECT_FAILURE(BadRequest, ({"indexes below 1", "found 1"}), of(*alex, {image_of(32, 32, 1)}, {0, 1}));
  EXPECT_FAILURE(BadRequest, ({"indexes below 1", "found -1"}), of(*alex, {image_of(32, 32, 1)}, {-1, 0}));
  EXPECT_FAILURE(BadRequest, ({"RGB pixels", "32 x 32 in 12 bytes"}),
                 of(*alex, {{std::vector<uint8_t>(12), 32, 32, 3}}, {0, 0}));
  EXPECT_FAILURE(BadRequest, ({"no features of images"}), alex->image_features({image_of(32, 32, 1)}, control));
  control.cancelled = true;
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), of(*alex, {image_of(32, 32, 1)}, {0, 0}));
}

namespace {

/// The tensors of a case that `keep` says, in a file of their own, under the names that it gives them.
std::string part_of(const test::TemporaryFolder& folder, const std::string& name, const char* file,
                    const std::function<Tensor(const std::string& key, const Tensor&)>& keep) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  const auto all = SafetensorsFile::open(weights_of(name));
  for (const auto& [key, info] : all->tensors())
    if (const auto t = keep(key, all->load(key)); t.defined()) tensors.emplace_back(key, t);
  if (std::string(file) == "trunk.safetensors") tensors.emplace_back("classifier.6.weight", at::zeros({3, 2}));
  save_safetensors(folder.file(file), tensors);
  return folder.file(file);
}

}  // namespace

TEST(trunk_and_lin_weights_are_two_files) {
  Folder folder("lpips_alex");
  const auto is_lin = [](const std::string& key) { return key.rfind("lin", 0) == 0; };
  const auto trunk = part_of(folder.folder, "lpips_alex", "trunk.safetensors",
                             [&](const std::string& key, const Tensor& t) { return is_lin(key) ? Tensor() : t; });
  const auto lin = part_of(folder.folder, "lpips_alex", "lin.safetensors",
                           [&](const std::string& key, const Tensor& t) { return is_lin(key) ? t : Tensor(); });
  const std::vector<Bitmap> images = {image_of(32, 32, 1), image_of(32, 32, 2)};
  Control control;
  const auto want = folder.load()->distances(images, {{0, 1}}, control);
  folder.source.weights = {trunk, lin};
  CHECK(folder.load()->distances(images, {{0, 1}}, control) == want);
  folder.source.weights = {trunk};
  EXPECT_FAILURE(KeysMismatch, ({"lin0.model.1.weight", "a trunk alone", "v0.1/alex"}), folder.load());
  folder.source.weights = {lin};
  EXPECT_FAILURE(KeysMismatch, ({"features.0.weight", "lin weights alone", "alexnet"}), folder.load());
}

TEST(other_weights_and_damaged_ones_are_told_apart) {
  Folder folder("lpips_alex");
  Control control;
  folder.source.weights = {weights_of("lpips_vgg")};
  EXPECT_FAILURE(KeysMismatch, ({"trunk of network vgg", "the config says alex"}), folder.load());
  folder.source.weights = {golden() + "clip_l.hf.safetensors"};
  EXPECT_FAILURE(KeysMismatch, ({"CLIP"}), folder.load());
  const auto nan = part_of(folder.folder, "lpips_alex", "nan.safetensors", [](const std::string& key, const Tensor& t) {
    return key == "features.3.bias" ? at::full_like(t, NAN) : t;
  });
  folder.source.weights = {nan};
  EXPECT_FAILURE(NotFinite, ({"[lpips]", "damaged"}),
                 folder.load()->distances({image_of(32, 32, 1)}, {{0, 0}}, control));
  folder.source.weights = {weights_of("lpips_alex")};
  folder.source.config = folder.folder.file("none.json");
  EXPECT_FAILURE(BadFile, ({"none.json"}), folder.load());
  for (const auto& [text, part] : {std::pair(R"({"network": "squeeze"})", "squeeze"),
                                   {R"({"version": "0.0"})", "0.0"},
                                   {R"({"channels": [1, 2]})", "5 positive"},
                                   {R"({"channels": [1, 2, 3, 4, 0]})", "5 positive"}}) {
    folder.source.config = folder.config(text);
    EXPECT_FAILURE(BadConfig, ({part}), folder.load());
  }
}

TEST(without_a_config_the_network_is_told_from_the_keys_and_other_lin_weights_are_told_of) {
  const test::TemporaryFolder folder;
  const auto path = folder.file("model.safetensors");
  auto m = make_lpips(published_lpips(LpipsNetwork::Alex));
  const auto save = [&](double scale) {
    std::vector<std::pair<std::string, Tensor>> tensors;
    const auto sums = published_lin_sums(m.config.network);
    each_tensor(m, [&](const std::string& key, Tensor& t) {
      const bool lin = key.rfind("lin", 0) == 0;
      const auto sum = lin ? sums[static_cast<size_t>(key[3] - '0')] / static_cast<double>(t.numel()) : 0.01;
      tensors.emplace_back(key, at::full(t.sizes(), lin ? scale * sum : sum));
    });
    save_safetensors(path, tensors);
  };
  Control control;
  std::vector<std::string> warnings;
  control.on_event = [&](Event&& e) {
    CHECK_EQ(e.kind, std::string("warning"));
    warnings.push_back(std::get<std::string>(e.fields.at(0).second));
  };
  const auto load = [&] { return load_scorer({"lpips", "", {path}}, {}, control); };
  save(1);
  CHECK_EQ(load()->info().parameters, 2469696 + 1152);
  CHECK(warnings.empty());
  save(0.9);
  load();
  CHECK(warnings.size() == 1 && warnings[0].find("is it v0.0?") != std::string::npos);
}

DRM_TEST_MAIN
