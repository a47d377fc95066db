// Adapters: several on a layer, their files' spellings, what does not fit, and files that are not what they seem.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <fstream>

#include "api/lora_tools.h"
#include "check.h"
#include "lora/applied_loras.h"
#include "lora/lora_file.h"
#include "models/sd3/sd3.h"
#include "nn/initialize.h"
#include "temporary_folder.h"
#include "tensor_io/json.h"
#include "tensor_io/safetensors.h"

using namespace drm;
namespace fs = std::filesystem;

namespace {

const std::string kGolden = DRM_GOLDEN;
const std::string kAdapter = kGolden + "/lora/pytorch_lora_weights.safetensors";

using Tensors = std::vector<std::pair<std::string, Tensor>>;

struct TemporaryFolder : test::TemporaryFolder {
  using test::TemporaryFolder::write;
  std::string write(const Tensors& tensors, const std::map<std::string, std::string>& metadata = {}) const {
    save_safetensors(file("lora.safetensors"), tensors, metadata);
    return file("lora.safetensors");
  }
};

Sd3 small() {
  const auto folder = kGolden + "/mmdit/";
  Sd3 m(make_mmdit(read_mmdit_config(folder + "config.json")));
  load_velocity_model(m, Weights::open({folder + "diffusion_pytorch_model.safetensors"}, velocity_keys), at::kFloat,
                      at::kCPU);
  return m;
}

Tensor run(const VelocityModel& m) {
  const auto io = SafetensorsFile::open(kGolden + "/lora/io.safetensors");
  const auto in = [&](const char* name) { return io->load(name); };
  const at::NoGradGuard no_grad;
  return m.velocity(in("latent"), in("timestep"), m.embed_text({in("context"), in("pooled")}));
}

double distance(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

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

Tensor ones(at::IntArrayRef shape) { return at::ones(shape); }

/// An adapter of one layer by the given names of its tensors.
Tensors pair(const std::string& a, const std::string& b, int64_t in = 4, int64_t out = 4, int64_t rank = 2) {
  return {{a, at::arange(rank * in, at::kFloat).view({rank, in})},
          {b, at::arange(out * rank, at::kFloat).view({out, rank})}};
}

}  // namespace

TEST(adapters_of_one_layer_add_up) {
  auto m = small();
  const auto off = run(m);
  const auto file = read_lora(kAdapter);
  auto twice = small();
  apply_lora(twice, file, 2.0);
  const auto expected = run(twice);
  apply_lora(m, file, 0.5);
  const auto layers = apply_lora(m, file, 1.5);
  CHECK_EQ(layers.front().layer->lora.size(), size_t{2});
  CHECK(distance(run(m), expected) < 2e-5);
  CHECK(distance(expected, off) > 1e-2);
  EXPECT_FAILURE(Internal, ({"several adapters"}), lora_tensors(layers));
  // Off is the base to the bit, and so is a strength and its negative.
  enable_lora(layers, false);
  CHECK(at::equal(run(m), off));
  enable_lora(layers, true);
  merge_lora(layers);
  CHECK(layers.front().layer->lora.empty());
  CHECK(distance(run(m), expected) < 2e-5);
  apply_lora(m, file, -2.0);
  CHECK(distance(run(m), off) < 2e-5);
}

TEST(adapters_stay_fp32_beside_bf16_weights) {
  auto m = small();
  each_tensor(m, [](const std::string&, Tensor& t) { t = t.to(at::kBFloat16); });
  const std::vector<LoraUse> uses{{kAdapter, 1e-3}};
  const auto files = read_loras(m, uses);
  use_loras(m, files, uses);
  const auto layers = find_targets(m, LoraConfig{}.targets);
  CHECK_EQ(layers.front().layer->lora.front().a.scalar_type(), at::kFloat);
  auto exact = small();
  use_loras(exact, files, uses);
  CHECK(find_targets(exact, LoraConfig{}.targets).front().layer->lora.empty());  // merged
}

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

TEST(adapters_of_a_changed_base_are_refused_by_name) {
  const TemporaryFolder folder;
  const std::string layer = "transformer_blocks.0.attn.to_q";
  const auto diffusers = pair("transformer." + layer + ".lora_A.weight", "transformer." + layer + ".lora_B.weight");
  const auto peft =
      pair("base_model.model." + layer + ".lora_A.weight", "base_model.model." + layer + ".lora_B.weight");
  const auto kohya = pair("lora_unet_joint_blocks_0_x_block_attn_proj.lora_down.weight",
                          "lora_unet_joint_blocks_0_x_block_attn_proj.lora_up.weight");
  const auto path = folder.file("adapter_model.safetensors");
  const auto beside = [&](const std::string& members, const Tensors& tensors) {
    save_safetensors(path, tensors);
    folder.write("adapter_config.json", "{\"peft_type\": \"LORA\", \"lora_alpha\": 4, " + members + "}");
    return read_lora(folder.path.string());
  };
  const auto inside = [&](const std::string& key, const std::string& text, const Tensors& tensors) {
    fs::remove(folder.file("adapter_config.json"));
    save_safetensors(path, tensors, {{"format", "pt"}, {key, text}});
    return read_lora(path);
  };
  for (const auto& [start, name] :
       std::vector<std::pair<std::string, std::string>>{{"pissa", "PiSSA"},
                                                        {"pissa_niter_16", "PiSSA"},
                                                        {"PiSSA", "PiSSA"},
                                                        {"olora", "OLoRA"},
                                                        {"OLoRA", "OLoRA"},
                                                        {"corda", "CorDA"},
                                                        {"loftq", "LoftQ"},
                                                        {"lora_ga", "LoRA-GA"},
                                                        {"lora-ga", "LoRA-GA"},
                                                        {"a_later_one", "may have changed"}}) {
    const auto said = "\"init_lora_weights\": \"" + start + "\"";
    const std::vector<std::string> parts = {"adapter", "init_lora_weights", start, name,
                                            "path_initial_model_for_weight_conversion"};
    test::expect_failure(__FILE__, __LINE__, Code::BadFile, parts, [&] { beside(said, peft); });
    test::expect_failure(__FILE__, __LINE__, Code::BadFile, parts, [&] { beside(said, diffusers); });
    for (const auto& tensors : {diffusers, peft, kohya}) {
      for (const char* component : {"", "transformer.", "text_encoder."})
        test::expect_failure(__FILE__, __LINE__, Code::BadFile, parts, [&] {
          inside("lora_adapter_metadata", std::string("{\"") + component + "init_lora_weights\": \"" + start + "\"}",
                 tensors);
        });
      for (const auto& [key, text] : std::vector<std::pair<std::string, std::string>>{
               {"init_lora_weights", start},
               {"adapter_config", "{" + said + "}"},
               {"training", "{\"lora\": \"{\\\"init_lora_weights\\\": \\\"" + start + "\\\"}\"}"},
               {"arguments", "--rank 4 --init_lora_weights=" + start + " --seed 1"},
               {"config", "{'r': 4, 'init_lora_weights': '" + start + "'}"}})
        test::expect_failure(__FILE__, __LINE__, Code::BadFile, parts, [&] { inside(key, text, tensors); });
    }
  }
  // Beside a file of another name it counts when that is the only one, but for no alphas.
  const auto other = folder.file("style.safetensors");
  fs::remove(path);
  save_safetensors(other, diffusers);
  folder.write("adapter_config.json", R"({"init_lora_weights": "pissa", "lora_alpha": 4})");
  EXPECT_FAILURE(BadFile, ({"adapter_config.json", "PiSSA"}), read_lora(other));
  folder.write("adapter_config.json", R"({"init_lora_weights": true, "lora_alpha": 4})");
  CHECK(!read_lora(other).alpha_stated);
  folder.write("adapter_config.json", R"({"init_lora_weights": "pissa", "lora_alpha": 4})");
  save_safetensors(folder.file("second.safetensors"), diffusers);
  CHECK_EQ(read_lora(other).layers.size(), size_t{1});
  fs::remove(folder.file("second.safetensors"));
  fs::remove(other);
  // Recorded by nothing but the method's own settings.
  for (const char* method : {"loftq", "corda", "lora_ga"}) {
    const auto settings = std::string("\"") + method + "_config\": {\"bits\": 4}";
    EXPECT_FAILURE(BadFile, ({"adapter_config.json", method}), beside(settings, peft));
    EXPECT_FAILURE(BadFile, ({"adapter_config.json", method}),
                   beside(settings + ", \"init_lora_weights\": null", peft));
    // As PEFT leaves it in what its conversion has made plain.
    CHECK_EQ(beside(settings + ", \"init_lora_weights\": true", peft).layers.size(), size_t{1});
  }
  // These leave the base as it is.
  for (const char* start :
       {"true", "false", "null", "\"gaussian\"", "\"Gaussian\"", "\"eva\"", "\"orthogonal\"", "\"mica\""}) {
    const auto said = std::string("\"init_lora_weights\": ") + start;
    CHECK_EQ(beside(said + ", \"loftq_config\": {}, \"eva_config\": {\"rho\": 2}, \"corda_config\": null", peft)
                 .layers.size(),
             size_t{1});
    CHECK_EQ(
        inside("lora_adapter_metadata", std::string("{\"transformer.") + said.substr(1) + "}", diffusers).layers.size(),
        size_t{1});
    CHECK_EQ(inside("note", said, kohya).layers.size(), size_t{1});
  }
  for (const auto& [members, what] :
       std::vector<std::pair<std::string, std::string>>{{"\"use_bdlora\": {\"target_modules_bd_a\": []}", "use_bdlora"},
                                                        {"\"kasa_config\": {\"beta\": 1}", "kasa_config"},
                                                        {"\"layer_replication\": [[0, 1]]", "layer_replication"},
                                                        {"\"transformer.peft_type\": \"LOHA\"", "LOHA"}})
    EXPECT_FAILURE(BadFile, ({"adapter_config.json", what}), beside(members, peft));
}

TEST(numbers_that_are_not_finite_are_found_at_load) {
  const TemporaryFolder folder;
  const auto nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const std::string a = "lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight",
                    b = "lora_unet_joint_blocks_0_x_block_attn_qkv.lora_up.weight";
  for (const float wrong : {nan, infinity, -infinity})
    for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble})
      for (size_t which : {0, 1}) {
        auto tensors = pair(a, b, 4, 12);
        for (auto& [name, t] : tensors) t = t.to(dtype);
        tensors[which].second[-1][0] = wrong;
        EXPECT_FAILURE(BadFile, ({"[lora]", "lora.safetensors", tensors[which].first, "NaN or infinity"}),
                       read_lora(folder.write(tensors)));
      }
  // Finite numbers of which fp32 cannot hold what they come to.
  auto tensors = pair(a, b, 4, 12);
  tensors[0].second = at::full({2, 4}, 1e300, at::kDouble);
  EXPECT_FAILURE(BadFile, ({"lora_down"}), read_lora(folder.write(tensors)));
  tensors[0].second = at::full({2, 4}, 1e30f);
  tensors[1].second = at::full({12, 2}, 1e30f);
  EXPECT_FAILURE(BadFile, ({"fp32"}), read_lora(folder.write(tensors)));
  tensors = pair(a, b, 4, 12);
  tensors.emplace_back("lora_unet_joint_blocks_0_x_block_attn_qkv.alpha", at::scalar_tensor(1e200, at::kDouble));
  EXPECT_FAILURE(BadFile, ({"fp32"}), read_lora(folder.write(tensors)));
}

TEST(what_is_no_plain_lora_is_called_by_its_kind) {
  const TemporaryFolder folder;
  const std::string layer = "lycoris_transformer_blocks_0_attn_to_q";
  for (const auto& [tensor, kind] : std::vector<std::pair<std::string, std::string>>{{"hada_w1_a", "LoHa"},
                                                                                     {"lokr_w1", "LoKr"},
                                                                                     {"dora_scale", "DoRA"},
                                                                                     {"lora_magnitude_vector", "DoRA"},
                                                                                     {"oft_blocks", "OFT"},
                                                                                     {"boft_R", "BOFT"},
                                                                                     {"a1.weight", "GLoRA"},
                                                                                     {"on_input", "IA3"},
                                                                                     {"lora_mid.weight", "Tucker"},
                                                                                     {"lora_B.bias", "biases"},
                                                                                     {"diff", "whole differences"}})
    for (const auto& beside : {Tensors{}, pair(layer + ".lora_down.weight", layer + ".lora_up.weight")}) {
      auto tensors = beside;
      tensors.emplace_back(layer + "." + tensor, ones({2, 2}));
      EXPECT_FAILURE(BadFile, ({"lora.safetensors", tensor, kind}), read_lora(folder.write(tensors)));
    }
  // What cannot be a change of a weight is passed over.
  auto tensors = pair(layer + ".lora_down.weight", layer + ".lora_up.weight");
  tensors.emplace_back("global_step", at::ones({1}, at::kLong));
  CHECK_EQ(read_lora(folder.write(tensors)).layers.size(), size_t{1});
  auto m = small();
  EXPECT_FAILURE(KeysMismatch, ({"0 of 2", "another architecture", "docs/lora.md"}),
                 apply_lora(m, read_lora(folder.write(pair("odd_transformer_blocks_0_attn_to_q.lora_down.weight",
                                                           "odd_transformer_blocks_0_attn_to_q.lora_up.weight")))));
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

TEST(a_partial_match_is_refused_and_changes_nothing) {
  const TemporaryFolder folder;
  auto m = small();
  const auto off = run(m);
  const auto width = m.info().width;
  auto tensors = pair("transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
                      "transformer.transformer_blocks.0.attn.to_q.lora_B.weight", width, width);
  const auto add = [&](const Tensors& more) { tensors.insert(tensors.end(), more.begin(), more.end()); };
  add(pair("transformer.transformer_blocks.99.attn.to_q.lora_A.weight",
           "transformer.transformer_blocks.99.attn.to_q.lora_B.weight", width, width));
  add(pair("transformer.transformer_blocks.0.attn.to_k.lora_A.weight",
           "transformer.transformer_blocks.0.attn.to_k.lora_B.weight", width, width + 1));
  add(pair("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
           "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight"));
  const auto file = read_lora(folder.write(tensors));
  CHECK_EQ(file.unmatched_keys.size(), size_t{1});
  const auto message = EXPECT_FAILURE(
      KeysMismatch, ({"2 of 8 tensors matched", "transformer_blocks.99.attn.to_q", "attn.to_k", "text_encoder"}),
      apply_lora(m, file));
  CHECK(message.find("blocks.0.attn.to_q") == std::string::npos);
  CHECK(at::equal(run(m), off));
  EXPECT_FAILURE(BadRequest, ({"text_encoder"}), write_lora(folder.file("x.safetensors"), file, LoraSpelling::Peft));
  // Another architecture's: nothing of it matches.
  const auto sdxl = read_lora(folder.write(pair("lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight",
                                                "lora_unet_down_blocks_1_attentions_0_proj_in.lora_up.weight")));
  EXPECT_FAILURE(KeysMismatch, ({"0 of 2 tensors matched", "another architecture"}), apply_lora(m, sdxl));
}

TEST(files_that_are_no_plain_lora) {
  const TemporaryFolder folder;
  const std::string q = "transformer.transformer_blocks.0.attn.to_q";
  const auto good = pair(q + ".lora_A.weight", q + ".lora_B.weight");
  const auto with = [&](const std::string& key, const Tensor& t) {
    auto all = good;
    all.emplace_back(key, t);
    return all;
  };
  const std::string fused = "lora_unet_joint_blocks_0_x_block_attn_qkv";
  for (const auto& [tensors, what] : std::vector<std::pair<Tensors, std::string>>{
           {{}, "found none"},
           {{{"conv_in.weight", ones({4, 4})}}, "conv_in.weight"},
           {{good[0]}, "only one of them"},
           {{good[1]}, "only one of them"},
           {with(q + ".lora_magnitude_vector", ones({4})), "lora_magnitude_vector"},
           {with(q + ".dora_scale", ones({4})), "dora_scale"},
           {with(q + ".lora_B.bias", ones({4})), "lora_B.bias"},
           {with(q + ".lora.down.weight", ones({2, 4})), "one such tensor"},
           {with(q + ".alpha", ones({2})), "one number"},
           {{{q + ".lora_A.weight", ones({2, 4})}, {q + ".lora_B.weight", ones({4, 3})}}, "two ranks"},
           {{{q + ".lora_A.weight", at::ones({0, 4})}, {q + ".lora_B.weight", at::ones({4, 0})}}, "to_q"},
           {{{q + ".lora_A.weight", ones({8})}, {q + ".lora_B.weight", ones({8})}}, "no matrices"},
           {{{q + ".lora_A.weight", at::ones({2, 4}, at::kLong)}, {q + ".lora_B.weight", ones({4, 2})}},
            "floating-point"},
           {pair(fused + ".lora_down.weight", fused + ".lora_up.weight", 4, 13), "query, key and value"},
           {{{fused + ".lora_down.weight", ones({2, 4})},
             {fused + ".lora_up.weight", ones({12, 2})},
             {"lora_transformer_transformer_blocks_0_attn_to_v.lora_down.weight", ones({2, 4})},
             {"lora_transformer_transformer_blocks_0_attn_to_v.lora_up.weight", ones({4, 2})}},
            "found two"}}) {
    const auto path = folder.write(tensors);
    EXPECT_FAILURE(BadFile, ({"[lora]", "lora.safetensors", what}), read_lora(path));
  }
  // Names that look like blocks' and are none.
  for (const char* name :
       {"lora_unet_joint_blocks_", "lora_unet_joint_blocks__x_block_attn_qkv", "lora_unet_",
        "lora_unet_joint_blocks_99999999999999999999_x_block_attn_qkv", "lora_unet_joint_blocks_-1_x_block_attn_qkv",
        "lora_unet_joint_blocks_1_x_block_attn", "diffusion_model.joint_blocks.99999999999999999999.x_block.attn.qkv",
        "diffusion_model.", "lora_transformer_transformer_blocks_x_attn_to_q"}) {
    const auto file = read_lora(
        folder.write(pair(std::string(name) + ".lora_down.weight", std::string(name) + ".lora_up.weight", 4, 12)));
    CHECK_EQ(file.unmatched_keys.size(), size_t{1});
    CHECK(file.layers.empty());
  }
  folder.write("lora.safetensors", "PK\x03\x04 a pickle");
  EXPECT_FAILURE(BadFile, ({"lora.safetensors"}), read_lora(folder.file("lora.safetensors")));
  EXPECT_FAILURE(BadFile, ({"missing.safetensors"}), read_lora(folder.file("missing.safetensors")));
}

TEST(training_saves_what_it_was_told) {
  const TemporaryFolder folder;
  auto m = small();
  const LoraConfig config{4, 3, {"attn.to_q", "ff.net.2"}};
  const auto layers = find_targets(m, config.targets);
  add_lora(layers, config, seeded_generator(5));
  save_lora(folder.file("saved.safetensors"), layers, config);
  const auto stored = SafetensorsFile::open(folder.file("saved.safetensors"));
  const auto told = Json::parse(stored->metadata().at("lora_adapter_metadata"), "metadata");
  CHECK_EQ(told.find("transformer.r")->as_int(), 4);
  CHECK_EQ(told.find("transformer.lora_alpha")->as_double(), 3.0);
  CHECK_EQ(told.find("transformer.target_modules")->items().size(), size_t{2});
  const auto file = read_lora(folder.file("saved.safetensors"));
  CHECK_EQ(file.layers.size(), layers.size());
  auto other = small();
  const auto again = apply_lora(other, file);
  for (size_t i = 0; i < layers.size(); ++i) {
    CHECK(at::equal(again[i].layer->lora.front().a, layers[i].layer->lora.front().a));
    CHECK_EQ(again[i].layer->lora.front().scale, layers[i].layer->lora.front().scale);
  }
  EXPECT_FAILURE(BadRequest, ({"has one already"}), add_lora(layers, config, seeded_generator(5)));
}

TEST(merging_rounds_once_and_leaves_the_rest_alone) {
  const TemporaryFolder folder;
  const ComponentFiles base{kGolden + "/mmdit/config.json", {kGolden + "/mmdit/diffusion_pytorch_model.safetensors"}};
  Control control;
  std::vector<std::string> phases;
  control.on_progress = [&](const Progress& p) { phases.push_back(p.phase); };
  const auto infos = merge_loras({base, {{kAdapter, 0.5}, {kAdapter, 0.5}}, folder.file("m.safetensors"), ""}, control);
  CHECK_EQ(infos.size(), size_t{2});
  CHECK_EQ(infos[0].tensors, 2 * infos[0].layers);
  CHECK(!phases.empty());
  Sd3 merged(make_mmdit(read_mmdit_config(base.config)));
  load_velocity_model(merged, Weights::open({folder.file("m.safetensors")}, velocity_keys), at::kFloat, at::kCPU);
  auto applied = small();
  apply_lora(applied, read_lora(kAdapter));
  CHECK(distance(run(merged), run(applied)) < 2e-5);
  const auto before = SafetensorsFile::open(base.weights[0]),
             after = SafetensorsFile::open(folder.file("m.safetensors"));
  CHECK_EQ(before->tensors().size(), after->tensors().size());
  CHECK(at::equal(before->load("transformer_blocks.0.ff.net.2.weight"),
                  after->load("transformer_blocks.0.ff.net.2.weight")));
  CHECK(!at::equal(before->load("transformer_blocks.0.attn.to_q.weight"),
                   after->load("transformer_blocks.0.attn.to_q.weight")));
  merge_loras({base, {{kAdapter, 1}}, folder.file("half.safetensors"), "bf16"}, control);
  const auto half = SafetensorsFile::open(folder.file("half.safetensors"));
  const auto name = "transformer_blocks.0.attn.to_q.weight";
  CHECK_EQ(half->tensors().at(name).dtype, at::kBFloat16);
  const auto entry = read_lora(kAdapter).layers.at("transformer_blocks.0.attn.to_q");
  const auto expected = before->load(name) + lora_delta(adapter_of(entry, 1, at::kCPU));
  CHECK(at::equal(half->load(name), expected.to(at::kBFloat16)));
  EXPECT_FAILURE(BadRequest, ({"finite strength"}),
                 merge_loras({base, {{kAdapter, std::numeric_limits<double>::infinity()}}, "x", ""}, control));
  control.cancelled = true;
  EXPECT_FAILURE(Cancelled, ({""}), merge_loras({base, {{kAdapter, 1}}, folder.file("no.safetensors"), ""}, control));
  CHECK(!fs::exists(folder.file("no.safetensors")));
}

TEST(inspection_measures_and_counts) {
  const auto bare = inspect_lora(kAdapter, {});
  CHECK(!bare.match);
  const auto all = inspect_lora(
      kAdapter, {kGolden + "/mmdit/config.json", {kGolden + "/mmdit/diffusion_pytorch_model.safetensors"}});
  CHECK_EQ(all.match->matched, all.tensors);
  const auto file = read_lora(kAdapter);
  for (const auto& layer : all.layers) {
    const auto delta = lora_delta(adapter_of(file.layers.at(layer.name), 1, at::kCPU)).norm().item<double>();
    CHECK(std::abs(layer.norm_delta - delta) < 1e-4 * delta);
    CHECK_EQ(layer.dtype, std::string("fp32"));
  }
}

DRM_TEST_MAIN
