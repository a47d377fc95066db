// Files of adapters that are refused: numbers that are none, kinds that are no plain LoRA, and what is not what it
// seems.
#include <ATen/ATen.h>

#include "lora/applied_loras.h"
#include "lora/lora_file.h"
#include "lora_fixtures.h"
#include "models/sd3/sd3.h"
#include "tensor_io/safetensors.h"

using namespace drm;
using namespace drm::test::lora;

namespace {

Tensor ones(at::IntArrayRef shape) { return at::ones(shape); }

}  // namespace

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

DRM_TEST_MAIN
