// VAE laws beyond the fixtures: tiling.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "check.h"
#include "vae/autoencoder.h"
#include "vae/vae_keys.h"

using namespace drm;

namespace {

Vae small_vae() {
  const auto folder = std::string(DRM_GOLDEN) + "/vae/";
  auto v = make_vae(read_vae_config(folder + "config.json"));
  load_vae(v, Weights::open({folder + "diffusion_pytorch_model.safetensors"}, vae_keys), at::kFloat, at::kCPU);
  return v;
}

}  // namespace

TEST(one_tile_is_the_plain_decoder) {
  const at::NoGradGuard no_grad;
  at::manual_seed(1);
  const auto v = small_vae();
  const auto z = at::randn({1, 16, 6, 9});
  CHECK((decode_tiled(v, z, {16, 4}, Control()) - decode(v, z)).abs().max().item<float>() < 1e-5f);
}

TEST(tiles_cover_any_size_and_blend_constants_exactly) {
  const at::NoGradGuard no_grad;
  auto v = small_vae();
  // A decoder whose output is its last bias: any gap, or weights that do not sum to one, would show.
  v.decoder.conv_out.weight.zero_();
  v.decoder.conv_out.bias.fill_(0.25);
  for (const auto& [h, w] : std::vector<std::pair<int64_t, int64_t>>{{8, 8}, {9, 20}, {17, 8}, {25, 31}}) {
    const auto y = decode_tiled(v, at::randn({1, 16, h, w}), {8, 2}, Control());
    CHECK(y.sizes() == at::IntArrayRef({1, 3, h * 8, w * 8}));
    CHECK((y - 0.25).abs().max().item<float>() < 1e-6f);
  }
}

TEST(tiled_encoding_has_the_plain_shape_and_is_close) {
  const at::NoGradGuard no_grad;
  at::manual_seed(2);
  const auto v = small_vae();
  const auto x = at::rand({1, 3, 160, 96}) * 2 - 1;
  const auto tiled = encode_moments_tiled(v, x, {12, 4}, Control()), plain = encode_moments(v, x);
  CHECK(tiled.sizes() == plain.sizes());
  CHECK(at::isfinite(tiled).all().item<bool>());
}

TEST(tiling_can_be_cancelled) {
  const at::NoGradGuard no_grad;
  const auto v = small_vae();
  Control control;
  control.on_progress = [&](const Progress&) { control.cancelled = true; };
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), decode_tiled(v, at::randn({1, 16, 20, 20}), {8, 2}, control));
}

TEST(a_tile_too_small_is_refused) {
  const auto v = small_vae();
  EXPECT_FAILURE(BadRequest, ({"tile", "at least 8"}), decode_tiled(v, at::randn({1, 16, 20, 20}), {2, 1}, Control()));
}

TEST(bytes_round_halves_to_even) {
  const auto unit = at::tensor({0.5f / 255, 1.5f / 255, 2.5f / 255}).view({1, 3, 1, 1});
  const auto bytes = bytes_from_unit(unit).flatten();
  CHECK_EQ(static_cast<int>(bytes[0].item<uint8_t>()), 0);
  CHECK_EQ(static_cast<int>(bytes[1].item<uint8_t>()), 2);
  CHECK_EQ(static_cast<int>(bytes[2].item<uint8_t>()), 2);
}

DRM_TEST_MAIN
