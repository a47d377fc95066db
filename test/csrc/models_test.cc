// Models planned from their configs alone: sizes of the real ones, and what the visitors cover.
#include <ATen/ATen.h>

#include <set>

#include "check.h"
#include "models/sd3/sd3.h"
#include "tensor_io/safetensors.h"
#include "text/clip.h"
#include "text/t5.h"
#include "vae/autoencoder.h"

using namespace drm;

namespace {

MMDiTConfig sd35_medium() {
  MMDiTConfig c;
  c.num_layers = 24;
  c.heads = 24;
  c.pos_embed_max_size = 384;
  for (int64_t i = 0; i <= 12; ++i) c.dual_attention_layers.push_back(i);
  return c;
}

MMDiTConfig sd35_large() {
  MMDiTConfig c;
  c.num_layers = 38;
  c.heads = 38;
  c.pos_embed_max_size = 192;
  return c;
}

VaeConfig sd3_vae() {
  VaeConfig c;
  c.block_out_channels = {128, 256, 512, 512};
  return c;
}

}  // namespace

TEST(sd35_medium_has_the_published_size) {
  Sd3 m(make_mmdit(sd35_medium()));
  CHECK_EQ(size_of(m).parameters, 2243171520);
  CHECK_EQ(size_of(m).tensors, 909);
}

TEST(first_21_blocks_of_sd35_medium) {
  // What a DRM keeps: embeddings, blocks 0..20 as they are (the last of them with its text side), output.
  Sd3 m(make_mmdit(sd35_medium()));
  m.network().blocks.resize(21);
  CHECK_EQ(size_of(m).parameters, 2018914752);
}

TEST(sd35_large_has_the_published_size) {
  Sd3 m(make_mmdit(sd35_large()));
  CHECK_EQ(size_of(m).parameters, 8056627520);
  CHECK_EQ(size_of(m).tensors, 1227);
}

TEST(sd3_vae_has_the_published_size) {
  auto v = make_vae(sd3_vae());
  CHECK_EQ(size_of(v).parameters, 83819683);
  CHECK_EQ(size_of(v).tensors, 244);
}

TEST(visitor_names_are_unique) {
  Sd3 m(make_mmdit(sd35_medium()));
  std::set<std::string> names;
  each_tensor(m, [&](const std::string& name, Tensor&) { CHECK(names.insert(name).second); });
}

template <class Model>
void covers(Model& m, const std::string& file) {
  // Every tensor of the Python library's file, and no other, is a tensor of the struct with the same shape.
  const auto stored = SafetensorsFile::open(std::string(DRM_GOLDEN) + file);
  size_t found = 0;
  each_tensor(m, [&](const std::string& name, Tensor& t) {
    const auto it = stored->tensors().find(name);
    if (it == stored->tensors().end()) test::fail(__FILE__, __LINE__, name + " is not in " + file);
    CHECK(t.sizes() == at::IntArrayRef(it->second.shape));
    ++found;
  });
  CHECK_EQ(found, stored->tensors().size());
}

TEST(visitors_cover_the_libraries_files) {
  const std::string golden = DRM_GOLDEN;
  Sd3 m(make_mmdit(read_mmdit_config(golden + "/mmdit/config.json")));
  covers(m, "/mmdit/diffusion_pytorch_model.safetensors");
  auto v = make_vae(read_vae_config(golden + "/vae/config.json"));
  covers(v, "/vae/diffusion_pytorch_model.safetensors");
  auto c = make_clip(read_clip_config(golden + "/clip_g/config.json"));
  covers(c, "/clip_g/model.safetensors");
  auto t = make_t5(read_t5_config(golden + "/t5/config.json"));
  covers(t, "/t5/model.safetensors");
}

TEST(config_is_told_from_the_shapes) {
  const std::string folder = std::string(DRM_GOLDEN) + "/mmdit_sd35_naming/";
  const auto said = read_mmdit_config(folder + "config.json");
  const auto told = infer_mmdit_config(Weights::open({folder + "sd3.5_tiny.safetensors"}, velocity_keys));
  CHECK_EQ(told.num_layers, said.num_layers);
  CHECK_EQ(told.heads, said.heads);
  CHECK_EQ(told.head_dim, said.head_dim);
  CHECK_EQ(told.pos_embed_max_size, said.pos_embed_max_size);
  CHECK_EQ(told.joint_attention_dim, said.joint_attention_dim);
  CHECK_EQ(told.pooled_projection_dim, said.pooled_projection_dim);
  CHECK(told.dual_attention_layers == said.dual_attention_layers);
}

TEST(position_table_is_the_stored_one) {
  for (const char* name : {"/mmdit/", "/pipeline/transformer/"}) {
    const auto folder = std::string(DRM_GOLDEN) + name;
    const auto stored =
        SafetensorsFile::open(folder + "diffusion_pytorch_model.safetensors")->load("pos_embed.pos_embed");
    const auto made = position_table(read_mmdit_config(folder + "config.json"));
    CHECK((made - stored).abs().max().item<float>() <= 1e-6f);
  }
}

TEST(large_weights_under_a_medium_config_are_recognised) {
  auto c = read_mmdit_config(std::string(DRM_GOLDEN) + "/mmdit/config.json");
  c.heads = 3;
  Sd3 m(make_mmdit(c));
  const auto weights =
      Weights::open({std::string(DRM_GOLDEN) + "/mmdit/diffusion_pytorch_model.safetensors"}, velocity_keys);
  EXPECT_FAILURE(
      KeysMismatch,
      ({"pos_embed.proj.weight: expected (48, 16, 2, 2), found (32, 16, 2, 2)", "width 32", "config says 48"}),
      load_velocity_model(m, weights, at::kFloat, at::kCPU));
}

DRM_TEST_MAIN
