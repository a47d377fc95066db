// Spellings, shards, and the report of keys that do not fit.
#include "tensor_io/weights.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>

#include "api/single_file.h"
#include "check.h"
#include "models/registry.h"
#include "temporary_folder.h"
#include "tensor_io/tensor_names.h"
#include "text/text_keys.h"
#include "vae/vae_keys.h"

using namespace drm;
namespace fs = std::filesystem;

namespace {

using test::TemporaryFolder;

const std::string kGolden = DRM_GOLDEN;

}  // namespace

TEST(single_file_names_give_the_diffusers_tensors) {
  const auto single = Weights::open({kGolden + "/mmdit_sd35_naming/sd3.5_tiny.safetensors"}, velocity_keys);
  const auto folder = Weights::open({kGolden + "/mmdit/diffusion_pytorch_model.safetensors"}, velocity_keys);
  CHECK_EQ(single.spelling(), std::string("sd3"));
  CHECK_EQ(folder.spelling(), std::string("diffusers"));
  CHECK_EQ(single.entries().size(), folder.entries().size());
  for (const auto& [key, entry] : folder.entries()) {
    if (!single.has(key)) test::fail(__FILE__, __LINE__, key + " was not translated");
    const auto& other = single.entries().at(key);
    CHECK(other.info.shape == entry.info.shape);
    CHECK(at::equal(other.load(at::kFloat, at::kCPU), entry.load(at::kFloat, at::kCPU)));
  }
}

TEST(ldm_names_of_the_vae) {
  const TemporaryFolder folder;
  const auto square = at::randn({4, 4});
  save_safetensors(folder.file("v.safetensors"),
                   {{"first_stage_model.encoder.down.1.block.0.nin_shortcut.weight", at::ones({1})},
                    {"first_stage_model.encoder.down.0.downsample.conv.bias", at::ones({1})},
                    {"first_stage_model.decoder.up.3.block.2.norm1.weight", at::ones({1})},
                    {"first_stage_model.decoder.up.1.upsample.conv.weight", at::ones({1})},
                    {"first_stage_model.decoder.mid.attn_1.q.weight", square.view({4, 4, 1, 1})},
                    {"first_stage_model.decoder.mid.attn_1.proj_out.bias", at::ones({1})},
                    {"first_stage_model.decoder.mid.block_2.conv1.weight", at::ones({1})},
                    {"first_stage_model.encoder.norm_out.weight", at::ones({1})},
                    {"model.diffusion_model.other", at::ones({1})}});
  const auto w = Weights::open({folder.file("v.safetensors")}, vae_keys);
  CHECK_EQ(w.spelling(), std::string("ldm"));
  for (const char* key :
       {"encoder.down_blocks.1.resnets.0.conv_shortcut.weight", "encoder.down_blocks.0.downsamplers.0.conv.bias",
        "decoder.up_blocks.0.resnets.2.norm1.weight", "decoder.up_blocks.2.upsamplers.0.conv.weight",
        "decoder.mid_block.attentions.0.to_q.weight", "decoder.mid_block.attentions.0.to_out.0.bias",
        "decoder.mid_block.resnets.1.conv1.weight", "encoder.conv_norm_out.weight"})
    if (!w.has(key)) test::fail(__FILE__, __LINE__, std::string(key) + " was not translated");
  CHECK_EQ(w.entries().size(), size_t{8});
  CHECK(at::equal(w.entries().at("decoder.mid_block.attentions.0.to_q.weight").load(at::kFloat, at::kCPU), square));
}

TEST(shards_are_found_beside_their_index) {
  const TemporaryFolder folder;
  save_safetensors(folder.file("a.safetensors"), {{"x", at::full({2}, 1.0)}});
  save_safetensors(folder.file("b.safetensors"), {{"y", at::full({3}, 2.0)}});
  folder.write("m.safetensors.index.json",
               R"({"metadata": {}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})");
  const auto open = [&](const std::string& name) { return Weights::open({folder.file(name)}, t5_keys()); };
  CHECK_EQ(open("m.safetensors.index.json").entries().size(), size_t{2});
  folder.write("e.index.json", R"({"weight_map": {"x": "../a.safetensors"}})");
  EXPECT_FAILURE(BadFile, ({"e.index.json", "plain file name"}), open("e.index.json"));
  folder.write("f.index.json", R"({"weight_map": {"z": "a.safetensors"}})");
  EXPECT_FAILURE(BadFile, ({"f.index.json", "z", "does not hold"}), open("f.index.json"));
  folder.write("g.index.json", R"({"weight_map": {"x": "gone.safetensors"}})");
  EXPECT_FAILURE(BadFile, ({"gone.safetensors"}), open("g.index.json"));
  folder.write("h.index.json", R"({})");
  EXPECT_FAILURE(BadFile, ({"h.index.json", "weight_map"}), open("h.index.json"));
}

TEST(every_key_that_does_not_fit_is_listed) {
  const TemporaryFolder folder;
  std::vector<std::pair<std::string, at::Tensor>> tensors = {{"good", at::ones({2})}, {"shape", at::ones({2, 3})}};
  for (int i = 0; i < 20; ++i) {
    std::string name("extra");
    tensors.emplace_back(name.append(std::to_string(i)), at::ones({1}));
  }
  save_safetensors(folder.file("m.safetensors"), tensors);
  const auto w = Weights::open({folder.file("m.safetensors")}, t5_keys());
  at::Tensor good, shape, missing;
  const std::vector<WantedTensor> wanted = {
      {"good", {2}, &good}, {"shape", {3, 2}, &shape}, {"missing", {1}, &missing}};
  try {
    w.fill(wanted, at::kFloat, at::kCPU, {}, "the hint");
    test::fail(__FILE__, __LINE__, "nothing was thrown");
  } catch (const Failure& f) {
    CHECK(f.code == Code::KeysMismatch);
    const std::string message = f.what();
    for (const char* part : {"m.safetensors", "shape: expected (3, 2), found (2, 3)", "1 missing", "missing",
                             "20 unexpected", "and 12 more", "the hint"})
      if (message.find(part) == std::string::npos)
        test::fail(__FILE__, __LINE__, std::string("message lacks ") + part + ": " + message);
    CHECK_EQ(std::count(f.details.at("unexpected").begin(), f.details.at("unexpected").end(), '\n'), 20);
  }
  CHECK(!good.defined());  // nothing is loaded before everything fits
  const auto extra = [](const std::string& key) { return key.rfind("extra", 0) == 0 || key == "shape"; };
  w.fill({{"good", {2}, &good}}, at::kFloat, at::kCPU, extra);
  CHECK(good.defined());
}

TEST(weights_in_fp8_are_taken_times_their_scales) {
  const TemporaryFolder folder;
  const auto stored = at::randn({6, 4}).to(at::kFloat8_e4m3fn);
  const auto plain = stored.to(at::kFloat), rows = at::rand({6}) + 0.5;
  const auto one = at::tensor(0.125f);
  const std::string layer = "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.";
  const auto load = [&](const std::vector<std::pair<std::string, at::Tensor>>& scales) {
    auto tensors = scales;
    tensors.emplace_back(layer + "weight", stored);
    tensors.emplace_back("model.diffusion_model.scaled_fp8", at::zeros({2}).to(at::kFloat8_e4m3fn));
    save_safetensors(folder.file("m.safetensors"), tensors);
    const auto w = Weights::open({folder.file("m.safetensors")}, velocity_keys);
    CHECK_EQ(w.entries().size(), size_t{3});  // scales and marks are none of the model's
    std::vector<at::Tensor> parts;
    for (const char* part : {"to_q", "to_k", "to_v"}) {
      const auto& entry = w.entries().at(std::string("transformer_blocks.0.attn.") + part + ".weight");
      CHECK_EQ(entry.info.dtype, scales.empty() ? at::kFloat8_e4m3fn : at::kFloat);
      parts.push_back(entry.load(at::kFloat, at::kCPU));
      CHECK(at::equal(entry.load(at::kBFloat16, at::kCPU), parts.back().to(at::kBFloat16)));
    }
    return at::cat(parts, 0);
  };
  CHECK(at::equal(load({}), plain));
  for (const char* name : {"scale_weight", "weight_scale"}) {
    CHECK(at::equal(load({{layer + name, one}}), plain * 0.125));
    CHECK(at::equal(load({{layer + name, one.view({1})}}), plain * 0.125));
    CHECK(at::equal(load({{layer + name, one.view({1, 1}).to(at::kBFloat16)}}), plain * 0.125));
    CHECK(at::equal(load({{layer + name, rows}}), plain * rows.view({6, 1})));
    CHECK(at::equal(load({{layer + name, rows.view({6, 1})}}), plain * rows.view({6, 1})));
    // Those of a layer's inputs are for computing in FP8.
    CHECK(at::equal(load({{layer + name, one}, {layer + "scale_input", one}, {layer + "input_scale", rows}}),
                    plain * 0.125));
    for (const auto& [scale, what] : std::vector<std::pair<at::Tensor, std::string>>{
             {rows.narrow(0, 0, 3), "each of its rows"},
             {rows.view({2, 3}), "each of its rows"},
             {rows.narrow(0, 0, 4).view({1, 4}), "each of its rows"},
             {at::ones({1}, at::kInt), "floating-point"},
             {one / 0, "finite"},
             {at::full({6}, std::numeric_limits<float>::quiet_NaN()), "finite"}})
      EXPECT_FAILURE(BadFile, ({layer + name, "m.safetensors", what}), load({{layer + name, scale}}));
  }
  EXPECT_FAILURE(BadFile, ({"found two"}), load({{layer + "scale_weight", one}, {layer + "weight_scale", one}}));
  EXPECT_FAILURE(BadFile, ({"proj.scale_weight", "proj.weight", "found none"}),
                 load({{"model.diffusion_model.joint_blocks.0.x_block.attn.proj.scale_weight", one}}));
}

TEST(a_file_as_it_is_passed_around_gives_the_model_it_was_made_of) {
  const auto scaled =
      Weights::open({std::string(DRM_TEST_DATA) + "/../../samples/weights/sd35_fp8_scaled.safetensors"}, velocity_keys);
  const auto original = Weights::open({kGolden + "/mmdit_sd35_naming/sd3.5_tiny.safetensors"}, velocity_keys);
  CHECK_EQ(scaled.entries().size(), original.entries().size());
  for (const auto& [key, entry] : original.entries()) {
    const auto got = scaled.entries().at(key).load(at::kFloat, at::kCPU), want = entry.load(at::kFloat, at::kCPU);
    // Some matrices there have a scale, some none: three bits of mantissa, and half the least number beside zero.
    const auto off = (got - want).abs() - want.abs() / 15 - 1e-3;
    if (off.max().item<float>() > 0) test::fail(__FILE__, __LINE__, key + " is another");
  }
}

TEST(scales_are_found_in_every_component_and_shard) {
  const TemporaryFolder folder;
  const auto stored = at::randn({2, 3}).to(at::kFloat8_e5m2);
  const auto expected = stored.to(at::kFloat) * 3;
  const auto scale = at::tensor(3.0f);
  const auto expect = [&](const std::vector<std::string>& files, const KeyReader& read, const std::string& key) {
    const auto w = Weights::open(files, read);
    CHECK_EQ(w.entries().size(), size_t{1});
    CHECK(at::equal(w.entries().at(key).load(at::kFloat, at::kCPU), expected));
  };
  const auto file = folder.file("m.safetensors");
  const std::string t5 = "encoder.block.0.layer.0.SelfAttention.q.", clip = "text_model.encoder.layers.0.mlp.fc1.";
  save_safetensors(file, {{t5 + "weight", stored}, {t5 + "scale_weight", scale}, {"scaled_fp8", stored}});
  expect({file}, t5_keys("t5xxl"), t5 + "weight");
  const auto single = "text_encoders.clip_l.transformer." + clip;
  save_safetensors(file, {{single + "weight", stored}, {single + "weight_scale", scale}});
  expect({file}, clip_keys("clip_l"), clip + "weight");
  const std::string vae = "first_stage_model.decoder.up.0.block.0.conv1.";
  save_safetensors(file, {{vae + "weight", stored}, {vae + "scale_weight", scale}});
  expect({file}, vae_keys, "decoder.up_blocks.0.resnets.0.conv1.weight");
  save_safetensors(file, {{t5 + "weight", stored}});
  save_safetensors(folder.file("s.safetensors"), {{t5 + "weight_scale", scale}});
  folder.write("m.index.json", "{\"weight_map\": {\"" + t5 + "weight\": \"m.safetensors\", \"" + t5 +
                                   "weight_scale\": \"s.safetensors\"}}");
  expect({folder.file("m.index.json")}, t5_keys(), t5 + "weight");
}

TEST(wanted_tensors_are_floating_point_numbers) {
  const TemporaryFolder folder;
  at::Tensor a, b;
  for (const auto dtype : {at::kChar, at::kByte, at::kShort, at::kInt, at::kLong, at::kBool}) {
    save_safetensors(folder.file("m.safetensors"),
                     {{"a", at::ones({2}, dtype)}, {"b", at::ones({2})}, {"position_ids", at::ones({3}, at::kLong)}});
    const auto w = Weights::open({folder.file("m.safetensors")}, clip_keys());
    EXPECT_FAILURE(BadFile,
                   ({"m.safetensors", "a: expected floating-point numbers", w.entries().at("a").info.dtype_name()}),
                   w.fill({{"a", {2}, &a}, {"b", {2}, &b}}, at::kFloat, at::kCPU));
    CHECK(!b.defined());
    w.fill({{"b", {2}, &b}}, at::kFloat, at::kCPU);
    b = at::Tensor();
  }
}

TEST(single_files_say_what_they_hold) {
  const TemporaryFolder folder;
  const auto file = folder.file("m.safetensors");
  save_safetensors(file, {{"model.diffusion_model.x", at::ones({1})},
                          {"first_stage_model.decoder.x", at::ones({1})},
                          {"text_encoders.t5xxl.transformer.shared.weight", at::ones({1})}});
  CHECK(components_inside(file) == (std::vector<std::string>{"vae", "t5xxl"}));
  CHECK_EQ(tensor_names({file}).size(), size_t{3});
  EXPECT_FAILURE(BadFile, ({"gone.safetensors"}), tensor_names({folder.file("gone.safetensors")}));
}

DRM_TEST_MAIN
