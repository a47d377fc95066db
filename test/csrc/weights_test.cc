// Spellings, shards, and the report of keys that do not fit.
#include "tensor_io/weights.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>

#include "check.h"

using namespace drm;
namespace fs = std::filesystem;

namespace {

struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / ("drm-weights-" + std::to_string(::getpid()));
  TemporaryFolder() { fs::create_directories(path); }
  ~TemporaryFolder() { fs::remove_all(path); }
  std::string file(const std::string& name) const { return (path / name).string(); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
};

const std::string kGolden = DRM_GOLDEN;

}  // namespace

TEST(single_file_names_give_the_diffusers_tensors) {
  const auto single = Weights::open({kGolden + "/mmdit_sd35_naming/sd3.5_tiny.safetensors"}, Component::Transformer);
  const auto folder = Weights::open({kGolden + "/mmdit/diffusion_pytorch_model.safetensors"}, Component::Transformer);
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
  const auto w = Weights::open({folder.file("v.safetensors")}, Component::Vae);
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
  const auto open = [&](const std::string& name) { return Weights::open({folder.file(name)}, Component::T5); };
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
  const auto w = Weights::open({folder.file("m.safetensors")}, Component::T5);
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

DRM_TEST_MAIN
