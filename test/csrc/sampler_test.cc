// Scheduler, guidance and the denoising loop: laws that hold for any model, on the fixtures' small transformer.
#include "flow/sampler.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "check.h"
#include "device.h"
#include "models/sd3/sd3.h"

using namespace drm;

namespace {

Sd3 small_transformer() {
  const auto folder = std::string(DRM_GOLDEN) + "/mmdit/";
  Sd3 m(make_mmdit(read_mmdit_config(folder + "config.json")));
  load_velocity_model(m, Weights::open({folder + "diffusion_pytorch_model.safetensors"}, velocity_keys), at::kFloat,
                      test::device());
  return m;
}

TextEmbedding some_text(const VelocityModel& m, int64_t batch) {
  return m.embed_text({test::randn({batch, 5, m.info().sequence_width}), test::randn({batch, m.info().pooled_width})});
}

}  // namespace

TEST(shift_acts_twice_on_the_low_end) {
  for (const int64_t n : {2, 10, 50}) {
    const auto s = sampling_schedule({1000, 3.0}, n);
    CHECK_EQ(s.sigmas.size(), static_cast<size_t>(n + 1));
    CHECK_EQ(s.sigmas.front(), 1.0f);
    CHECK_EQ(s.sigmas.back(), 0.0f);
    CHECK(std::abs(s.timesteps.back() - 8.928572f) < 1e-3f);
  }
}

TEST(one_step_goes_from_noise_to_the_estimate) {
  const auto s = sampling_schedule({1000, 3.0}, 1);
  CHECK_EQ(s.sigmas.size(), size_t{2});
  CHECK_EQ(s.sigmas[0], 1.0f);
}

TEST(no_steps_is_refused) {
  EXPECT_FAILURE(BadRequest, ({"steps", "at least 1", "-3"}), sampling_schedule({1000, 3.0}, -3));
}

TEST(initial_latents_are_torch_randn) {
  // torch.randn((1, 16, 2, 2), generator=torch.Generator("cpu").manual_seed(0))[0, 0], from Python
  const auto x = initial_latents(0, 16, 2, 2, at::kFloat);
  const float first[] = {-1.12583983f, -1.15236020f, -0.25057858f, -0.43387881f};
  for (int i = 0; i < 4; ++i) CHECK(std::abs(x.flatten()[i].item<float>() - first[i]) < 1e-6f);
  CHECK(at::equal(x, initial_latents(0, 16, 2, 2, at::kFloat)));
  CHECK(!at::equal(x, initial_latents(1, 16, 2, 2, at::kFloat)));
}

TEST(guidance_of_one_is_the_conditional_velocity) {
  const auto u = test::randn({2, 3}), c = test::randn({2, 3});
  CHECK((guide(u, c, 1.0) - c).abs().max().item<float>() < 1e-6f);
  CHECK(at::equal(guide(u, u, 7.5), u));
}

TEST(a_batch_gives_what_single_images_give) {
  const at::NoGradGuard no_grad;
  at::manual_seed(4);
  const auto m = small_transformer();
  const auto text = some_text(m, 3), negative = some_text(m, 3);
  const auto x = test::randn({3, 16, 8, 6});
  const auto schedule = sampling_schedule({1000, 3.0}, 4);
  const auto together = denoise(m, x, {text, negative}, schedule, {4.5}, Control());
  for (int64_t i = 0; i < 3; ++i) {
    const auto row = [&](const TextEmbedding& t) {
      return TextEmbedding{t.context_BLD.narrow(0, i, 1), t.pooled_BD.narrow(0, i, 1)};
    };
    const auto alone = denoise(m, x.narrow(0, i, 1), {row(text), row(negative)}, schedule, {4.5}, Control());
    CHECK((alone - together.narrow(0, i, 1)).abs().max().item<float>() < 1e-3f);
  }
}

TEST(skip_layer_guidance_acts_only_in_its_window) {
  const at::NoGradGuard no_grad;
  at::manual_seed(5);
  const auto m = small_transformer();
  const auto text = some_text(m, 1), negative = some_text(m, 1);
  const auto x = test::randn({1, 16, 4, 4});
  const auto schedule = sampling_schedule({1000, 3.0}, 10);
  std::vector<Tensor> plain, skipping;
  const auto run = [&](Guidance g, std::vector<Tensor>& steps) {
    denoise(m, x, {text, negative}, schedule, g, Control(), [&](const StepView& s) { steps.push_back(s.latents); });
  };
  run({4.5}, plain);
  run({4.5, {{1}, 2.8, 0.2, 0.5}}, skipping);
  // The reference compares with strict inequalities: steps 3 and 4 of 10 lie inside (2, 5).
  for (int i = 0; i < 3; ++i) CHECK(at::equal(plain[i], skipping[i]));
  CHECK(!at::allclose(plain[3], skipping[3]));
}

TEST(nan_is_reported_at_its_step) {
  const at::NoGradGuard no_grad;
  auto m = small_transformer();
  m.output_layer().bias[0] = std::numeric_limits<float>::quiet_NaN();
  const auto text = some_text(m, 2);
  EXPECT_FAILURE(
      NotFinite, ({"step 1 of 3", "NaN", "image 0, 1"}),
      denoise(m, test::randn({2, 16, 4, 4}), {text, {}}, sampling_schedule({1000, 3.0}, 3), {1.0}, Control()));
}

TEST(cancelling_stops_between_steps) {
  const at::NoGradGuard no_grad;
  const auto m = small_transformer();
  const auto text = some_text(m, 1);
  Control control;
  int steps = 0;
  EXPECT_FAILURE(Cancelled, ({"cancelled"}),
                 denoise(m, test::randn({1, 16, 4, 4}), {text, {}}, sampling_schedule({1000, 3.0}, 50), {1.0}, control,
                         [&](const StepView&) {
                           if (++steps == 3) control.cancelled = true;
                         }));
  CHECK_EQ(steps, 3);
}

TEST(sizes_beyond_the_position_table_are_refused) {
  const at::NoGradGuard no_grad;
  const auto m = small_transformer();
  const auto text = some_text(m, 1);
  EXPECT_FAILURE(BadRequest, ({"patches", "position table"}),
                 m.velocity(test::randn({1, 16, 26, 26}), at::zeros({1}, test::device()), text));
  EXPECT_FAILURE(BadRequest, ({"multiples of the patch"}),
                 m.velocity(test::randn({1, 16, 5, 4}), at::zeros({1}, test::device()), text));
}

DRM_TEST_MAIN
