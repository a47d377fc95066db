// Adapters' files in all spellings: layers' names, fused projections, ranks and alphas, and conversion between them.
#include <ATen/ATen.h>

#include <filesystem>

#include "api/lora_tools.h"
#include "lora/applied_loras.h"
#include "lora/lora_file.h"
#include "lora_fixtures.h"
#include "models/sd3/sd3.h"
#include "tensor_io/safetensors.h"

using namespace drm;
using namespace drm::test::lora;
namespace fs = std::filesystem;

namespace {

/// Same layers, values and alphas, to the bit.
void expect_same(const LoraFile& a, const LoraFile& b) {
  CHECK_EQ(a.layers.size(), b.layers.size());
  for (const auto& [name, x] : a.layers) {
    const auto it = b.layers.find(name);
    if (it == b.layers.end()) test::fail(__FILE__, __LINE__, name + " was lost");
    const auto& y = it->second;
    CHECK_EQ(x.a.scalar_type(), y.a.scalar_type());
    CHECK(at::equal(x.a, y.a) && at::equal(x.b, y.b));
    CHECK_EQ(x.alpha, y.alpha);
  }
}

}  // namespace

TEST(every_spelling_gives_the_same_adapters_back) {
  const TemporaryFolder folder;
  const auto original = read_lora(kAdapter);
  CHECK(original.alpha_stated);
  for (const auto spelling : {LoraSpelling::Diffusers, LoraSpelling::Peft, LoraSpelling::Kohya}) {
    const auto path = folder.file("adapter_model.safetensors");
    write_lora(path, original, spelling);
    const auto back = read_lora(path);
    CHECK(back.alpha_stated);
    CHECK(back.unmatched_keys.empty());
    expect_same(original, back);
    // And from there to the others and back.
    write_lora(folder.file("again.safetensors"), back, LoraSpelling::Kohya);
    expect_same(original, read_lora(folder.file("again.safetensors")));
  }
}

TEST(conversion_keeps_ranks_alphas_and_dtypes) {
  const TemporaryFolder folder;
  LoraFile file;
  file.path = "made.safetensors";
  const auto add = [&](const std::string& layer, int64_t out, int64_t rank, double alpha, at::ScalarType dtype) {
    file.layers[layer] = {at::randn({rank, 8}).to(dtype), at::randn({out, rank}).to(dtype), alpha, layer};
  };
  add("transformer_blocks.1.attn.to_out.0", 8, 4, 1.0 / 3, at::kBFloat16);
  add("transformer_blocks.11.attn.to_out.0", 8, 4, 4, at::kBFloat16);
  add("transformer_blocks.11.ff.net.0.proj", 32, 2, 64, at::kHalf);
  add("transformer_blocks.23.norm1_context.linear", 16, 3, 3, at::kFloat);  // the last block's
  add("transformer_blocks.2.norm1_context.linear", 48, 3, 3, at::kFloat);
  add("norm_out.linear", 16, 5, 5, at::kFloat);
  add("proj_out", 8, 5, 7, at::kFloat);
  add("time_text_embed.text_embedder.linear_2", 8, 1, 2, at::kFloat);
  // Only two of a fused three.
  add("transformer_blocks.0.attn2.to_q", 8, 4, 10, at::kFloat);
  add("transformer_blocks.0.attn2.to_v", 8, 4, 10, at::kFloat);
  for (const auto spelling : {LoraSpelling::Diffusers, LoraSpelling::Peft, LoraSpelling::Kohya}) {
    write_lora(folder.file("adapter_model.safetensors"), file, spelling);
    expect_same(file, read_lora(folder.file("adapter_model.safetensors")));
  }
  add("transformer_blocks.0.attn2.to_k", 8, 2, 10, at::kFloat);
  EXPECT_FAILURE(BadRequest, ({"joint_blocks_0_x_block_attn2_qkv", "diffusers or peft"}),
                 write_lora(folder.file("k.safetensors"), file, LoraSpelling::Kohya));
  file.layers.clear();
  add("some.other.layer", 8, 2, 2, at::kFloat);
  EXPECT_FAILURE(BadRequest, ({"some.other.layer", "kohya"}),
                 write_lora(folder.file("k.safetensors"), file, LoraSpelling::Kohya));
}

TEST(kohyas_adapters_act_on_the_layers_they_name) {
  // The original single file with every linear layer adapted by hand must be the translated model with the file
  // applied.
  const TemporaryFolder folder;
  const auto original = SafetensorsFile::open(kGolden + "/mmdit_sd35_naming/sd3.5_tiny.safetensors");
  const std::string prefix = "model.diffusion_model.", ending = ".weight";
  Tensors weights, adapters;
  for (const auto& [key, info] : original->tensors()) {
    auto w = original->load(key);
    const bool linear = key.ends_with(ending) && info.shape.size() == 2 && key.rfind(prefix, 0) == 0;
    if (linear) {
      auto name = key.substr(prefix.size(), key.size() - prefix.size() - ending.size());
      std::replace(name.begin(), name.end(), '.', '_');
      const int64_t rank = 2;
      const auto down = at::randn({rank, info.shape[1]}), up = 0.1 * at::randn({info.shape[0], rank});
      const auto alpha = 3.0;
      adapters.emplace_back("lora_unet_" + name + ".lora_down.weight", down);
      adapters.emplace_back("lora_unet_" + name + ".lora_up.weight", up);
      adapters.emplace_back("lora_unet_" + name + ".alpha", at::scalar_tensor(alpha));
      w = w + alpha / 2 * at::matmul(up, down);
    }
    weights.emplace_back(key, w);
  }
  CHECK(adapters.size() > 30);
  save_safetensors(folder.file("merged.safetensors"), weights);
  const auto config = read_mmdit_config(kGolden + "/mmdit_sd35_naming/config.json");
  const auto load = [&](const std::string& file) {
    Sd3 m(make_mmdit(config));
    load_velocity_model(m, Weights::open({file}, velocity_keys), at::kFloat, at::kCPU);
    return m;
  };
  auto by_hand = load(folder.file("merged.safetensors"));
  auto ours = load(original->path());
  const auto file = read_lora(folder.write(adapters));
  CHECK_EQ(file.spelling, std::string("kohya"));
  CHECK_EQ(file.tensors, static_cast<int64_t>(adapters.size() / 3 * 2));
  merge_lora(apply_lora(ours, file));
  std::map<std::string, Tensor> expected;
  each_tensor(by_hand, [&](const std::string& name, Tensor& t) { expected[name] = t; });
  each_tensor(ours, [&](const std::string& name, Tensor& t) {
    if (distance(t, expected.at(name)) > 1e-5) test::fail(__FILE__, __LINE__, name + " was adapted otherwise");
  });
  // A shared A goes back to the fused form it came in.
  write_lora(folder.file("back.safetensors"), file, LoraSpelling::Kohya);
  const auto back = SafetensorsFile::open(folder.file("back.safetensors"));
  CHECK_EQ(back->tensors().size(), adapters.size());
  for (const auto& [key, value] : adapters) CHECK(at::equal(back->load(key), value));
}

TEST(a_fused_projection_with_three_ranks_is_taken_apart) {
  // sd-scripts' split_qkv: A's one below the other, B's on the diagonal.
  const TemporaryFolder folder;
  const auto a = at::randn({6, 4});
  auto b = at::zeros({12, 6});
  for (int64_t i = 0; i < 3; ++i) b.narrow(0, 4 * i, 4).narrow(1, 2 * i, 2).copy_(at::randn({4, 2}));
  const std::string name = "lora_unet_joint_blocks_7_context_block_attn_qkv";
  const auto file = read_lora(folder.write(
      {{name + ".lora_down.weight", a}, {name + ".lora_up.weight", b}, {name + ".alpha", at::scalar_tensor(6.0)}}));
  CHECK_EQ(file.layers.size(), size_t{3});
  const auto& k = file.layers.at("transformer_blocks.7.attn.add_k_proj");
  CHECK_EQ(k.a.size(0), 2);
  CHECK_EQ(k.alpha, 2.0);
  CHECK(at::equal(k.a, a.narrow(0, 2, 2)));
  const auto whole = 6.0 / 6 * at::matmul(b, a);
  CHECK(distance(k.alpha / 2 * at::matmul(k.b, k.a), whole.narrow(0, 4, 4)) < 1e-6);
}

TEST(other_names_for_the_same_layer) {
  const TemporaryFolder folder;
  const std::string layer = "transformer_blocks.3.attn.to_out.0";
  const std::vector<std::pair<std::string, std::string>> names = {
      {"transformer." + layer + ".lora_A.weight", "transformer." + layer + ".lora_B.weight"},
      {"transformer." + layer + ".lora.down.weight", "transformer." + layer + ".lora.up.weight"},
      {"transformer.transformer_blocks.3.attn.processor.to_out_lora.down.weight",
       "transformer.transformer_blocks.3.attn.processor.to_out_lora.up.weight"},
      {layer + ".lora_A.weight", layer + ".lora_B.weight"},
      {"base_model.model." + layer + ".lora_A.weight", "base_model.model." + layer + ".lora_B.weight"},
      {"base_model.model." + layer + ".lora_A.default.weight", "base_model.model." + layer + ".lora_B.default.weight"},
      {"lora_unet_joint_blocks_3_x_block_attn_proj.lora_down.weight",
       "lora_unet_joint_blocks_3_x_block_attn_proj.lora_up.weight"},
      {"lora_transformer_transformer_blocks_3_attn_to_out_0.lora_down.weight",
       "lora_transformer_transformer_blocks_3_attn_to_out_0.lora_up.weight"},
      {"diffusion_model.joint_blocks.3.x_block.attn.proj.lora_A.weight",
       "diffusion_model.joint_blocks.3.x_block.attn.proj.lora_B.weight"},
      {"model.diffusion_model." + layer + ".lora_down.weight", "model.diffusion_model." + layer + ".lora_up.weight"},
      {"diffusion_model." + layer + ".lora_A.weight", "diffusion_model." + layer + ".lora_B.weight"},
      {"joint_blocks.3.x_block.attn.proj.lora_A.weight", "joint_blocks.3.x_block.attn.proj.lora_B.weight"},
      {"transformer.joint_blocks.3.x_block.attn.proj.lora_down.weight",
       "transformer.joint_blocks.3.x_block.attn.proj.lora_up.weight"},
      {"base_model.model." + layer + ".lora_A.style_v2.weight",
       "base_model.model." + layer + ".lora_B.style_v2.weight"},
      {"base_model.model.transformer." + layer + ".lora_A.weight",
       "base_model.model.transformer." + layer + ".lora_B.weight"},
      {layer + ".lora_A", layer + ".lora_B"},
      {layer + ".lora_A.default.weight", layer + ".lora_B.default.weight"},
      {"lora_unet_transformer_blocks_3_attn_to_out_0.lora_down.weight",
       "lora_unet_transformer_blocks_3_attn_to_out_0.lora_up.weight"},
      {"lycoris_transformer_blocks_3_attn_to_out_0.lora_down.weight",
       "lycoris_transformer_blocks_3_attn_to_out_0.lora_up.weight"},
      {"lycoris_joint_blocks_3_x_block_attn_proj.lora_down.weight",
       "lycoris_joint_blocks_3_x_block_attn_proj.lora_up.weight"}};
  for (const auto& [a, b] : names) {
    const auto file = read_lora(folder.write(pair(a, b)));
    if (!file.layers.count(layer)) test::fail(__FILE__, __LINE__, a + " was not understood");
    CHECK_EQ(file.layers.size(), size_t{1});
    CHECK(!file.alpha_stated);
    CHECK_EQ(file.layers.at(layer).alpha, 2.0);  // the rank
  }
}

TEST(alphas_as_python_says_them) {
  const TemporaryFolder folder;
  auto tensors = pair("transformer.transformer_blocks.1.attn.to_q.lora_A.weight",
                      "transformer.transformer_blocks.1.attn.to_q.lora_B.weight");
  for (const auto& t : pair("transformer.transformer_blocks.11.attn.to_q.lora_A.weight",
                            "transformer.transformer_blocks.11.attn.to_q.lora_B.weight"))
    tensors.push_back(t);
  const auto read = [&](const std::string& config) {
    return read_lora(folder.write(tensors, {{"lora_adapter_metadata", config}}));
  };
  const auto alpha = [](const LoraFile& f, const char* block) {
    return f.layers.at(std::string("transformer_blocks.") + block + ".attn.to_q").alpha;
  };
  // As diffusers 0.3x saves ranks and alphas that differ: from the beginning of the name.
  auto f =
      read("{\"transformer.lora_alpha\": 8, \"transformer.alpha_pattern\": {\"^transformer_blocks.1.attn.to_q\": 3}}");
  CHECK_EQ(alpha(f, "1"), 3.0);
  CHECK_EQ(alpha(f, "11"), 8.0);
  CHECK(f.alpha_stated);
  f = read("{\"transformer.lora_alpha\": 8, \"transformer.alpha_pattern\": {\"1\\\\.attn\\\\.to_q$\": 3}}");
  CHECK_EQ(alpha(f, "1"), 3.0);
  CHECK_EQ(alpha(f, "11"), 8.0);
  f = read("{\"transformer.alpha_pattern\": {\"1.attn.to_q\": 3}}");
  CHECK(!f.alpha_stated);
  for (const auto& [config, what] : std::vector<std::pair<std::string, std::string>>{
           {"{\"transformer.lora_alpha\": \"8\"}", "lora_alpha"},
           {"{\"transformer.lora_alpha\": 1e999}", ""},
           {"{\"transformer.use_rslora\": true}", "use_rslora"},
           {"{\"transformer.use_dora\": true}", "use_dora"},
           {"[]", "JSON object"},
           {"{\"transformer.alpha_pattern\": [1]}", "alpha_pattern"},
           {"{\"transformer.alpha_pattern\": {\"(a+)+$\": 1}}", "regular expression"},
           {"{\"transformer.alpha_pattern\": {\"\": 1}}", "regular expression"},
           {"{", "lora_adapter_metadata"}})
    EXPECT_FAILURE(BadFile, ({"lora.safetensors", what}), read(config));
  // A number of the file's own comes first.
  tensors.emplace_back("transformer.transformer_blocks.1.attn.to_q.alpha", at::scalar_tensor(5.0));
  f = read("{\"transformer.lora_alpha\": 8}");
  CHECK_EQ(alpha(f, "1"), 5.0);
  CHECK_EQ(alpha(f, "11"), 8.0);
  tensors.back().second = at::scalar_tensor(std::numeric_limits<float>::quiet_NaN());
  EXPECT_FAILURE(BadFile, ({"alpha", "finite"}), read("{}"));
}

TEST(pefts_config_lies_beside) {
  const TemporaryFolder folder;
  folder.write(pair("base_model.model.transformer_blocks.0.attn.to_q.lora_A.weight",
                    "base_model.model.transformer_blocks.0.attn.to_q.lora_B.weight"));
  fs::rename(folder.file("lora.safetensors"), folder.file("adapter_model.safetensors"));
  folder.write("adapter_config.json", R"({"r": 2, "lora_alpha": 16, "alpha_pattern": null, "use_rslora": false})");
  const auto file = read_lora(folder.path.string());
  CHECK_EQ(file.spelling, std::string("peft"));
  CHECK_EQ(file.layers.at("transformer_blocks.0.attn.to_q").alpha, 16.0);
  folder.write("adapter_config.json", "[");
  EXPECT_FAILURE(BadFile, ({"adapter_config.json"}), read_lora(folder.path.string()));
  fs::remove(folder.file("adapter_model.safetensors"));
  EXPECT_FAILURE(BadFile, ({"found neither"}), read_lora(folder.path.string()));
}

TEST(alpha_patterns_cost_what_they_are_long) {
  const TemporaryFolder folder;
  Tensors tensors;
  for (int i = 0; i < 300; ++i)
    for (const auto& t : pair("transformer.transformer_blocks." + std::to_string(i) + ".attn.to_q.lora_A.weight",
                              "transformer.transformer_blocks." + std::to_string(i) + ".attn.to_q.lora_B.weight"))
      tensors.push_back(t);
  std::string many;
  for (int i = 0; i < 200'000; ++i) many.append("\"x").append(std::to_string(i)).append(".attn.to_q\": 3, ");
  std::string dots;
  for (int i = 0; i < 1'000'000; ++i) dots += "a\\\\.";
  const auto file = read_lora(folder.write(
      tensors, {{"lora_adapter_metadata", "{\"transformer.alpha_pattern\": {" + many + "\"" + dots +
                                              "b\": 5, \"7.attn.to_q\": 2, \"attn.to_q\": 4, \"17.attn.to_q\": 6}}"}}));
  const auto alpha = [&](int block) {
    return file.layers.at("transformer_blocks." + std::to_string(block) + ".attn.to_q").alpha;
  };
  CHECK_EQ(alpha(7), 2.0);
  CHECK_EQ(alpha(17), 4.0);  // the first that fits, as PEFT takes them
  CHECK_EQ(alpha(8), 4.0);
  // Names without end do not take the square of their length.
  std::string name = "transformer.a";
  for (int i = 0; i < 300'000; ++i) name += ".a";
  CHECK_EQ(read_lora(folder.write(pair(name + ".lora_A.weight", name + ".lora_B.weight"),
                                  {{"lora_adapter_metadata", "{\"transformer.alpha_pattern\": {\"a\": 5}}"}}))
               .unmatched_keys.size(),
           size_t{1});
}

DRM_TEST_MAIN
