// Adapters on a model: several on a layer, whose base is another, what training and merging leave, inspection.
#include <ATen/ATen.h>

#include <filesystem>

#include "api/lora_tools.h"
#include "lora/applied_loras.h"
#include "lora/lora_file.h"
#include "lora_fixtures.h"
#include "models/sd3/sd3.h"
#include "nn/initialize.h"
#include "tensor_io/json.h"
#include "tensor_io/safetensors.h"

using namespace drm;
using namespace drm::test::lora;
namespace fs = std::filesystem;

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
