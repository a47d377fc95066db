// A scorer of finished images in the sampling loop: it sees each candidate's decoded estimate under its own prompt, and
// what it likes best goes on.
#include "api/decoded_scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <numeric>

#include "api/pipeline.h"
#include "check.h"
#include "device.h"
#include "models/registry.h"
#include "training.h"
#include "vae/vae_keys.h"

using namespace drm;

namespace {

const auto kSource = test::pipeline_at(std::string(DRM_GOLDEN) + "/../../models/tiny/");

double brightness(const std::vector<uint8_t>& pixels) {
  return std::accumulate(pixels.begin(), pixels.end(), 0.0) / static_cast<double>(pixels.size());
}

/// Likes what is bright, and remembers the prompts that it was asked about.
class Brightness final : public Scorer {
 public:
  explicit Brightness(double sign = 1) : sign_(sign) {}
  const ScorerInfo& info() const override { return info_; }
  Scores score(const ImagesToScore& r, Control& control) override {
    if (!r.prompts.empty()) check_prompts(r);
    for (const auto prompt : r.prompt_of) read.push_back(r.prompts[static_cast<size_t>(prompt)]);
    most_prompts = std::max(most_prompts, r.prompts.size());
    Scores scores;
    for (const auto& image : r.images) {
      CHECK_EQ(image.pixels.size(), static_cast<size_t>(3 * image.height * image.width));
      scores.values.push_back(static_cast<float>(sign_ * brightness(image.pixels)));
    }
    control.report({"images", 1, 1, 0});
    return scores;
  }
  std::vector<std::vector<int64_t>> read;
  size_t most_prompts = 0;

 private:
  double sign_;
  ScorerInfo info_;
};

SampleRequest request() {
  SampleRequest r;
  r.prompts = {test::tiny_tokens(0), test::tiny_tokens(1), test::tiny_tokens(2)};
  r.negatives = {test::tiny_tokens(2)};
  r.images = {{1, 0, 7}, {0, 0, 8}};
  r.steps = 4;
  r.t5_length = 0;
  return r;
}

SampleRequest guided(const std::shared_ptr<Scorer>& scorer, int64_t k = 3) {
  auto r = request();
  r.stepwise = StepwiseRequest{};
  r.stepwise->k = k;
  r.stepwise->trace = true;
  r.stepwise->guide = ImageGuide{scorer, {{31}, {32}}, {1, 0}};
  return r;
}

std::vector<Event> sampled(const SampleRequest& r, Control& control) {
  static const auto& pipeline = *new auto(Pipeline::load(kSource, {test::device_name()}, control));
  std::vector<Event> events;
  control.on_event = [&](Event&& e) { events.push_back(std::move(e)); };
  pipeline->sample(r, control);
  return events;
}
std::vector<Event> sampled(const SampleRequest& r) {
  Control control;
  return sampled(r, control);
}

/// Of the finished images.
std::vector<double> brightness(const std::vector<Event>& events) {
  std::vector<double> all;
  for (const auto& e : events)
    if (e.kind == "image") all.push_back(brightness(e.bytes));
  return all;
}

template <class T>
T field(const Event& e, const std::string& name) {
  for (const auto& [key, value] : e.fields)
    if (key == name) return std::get<T>(value);
  test::fail(__FILE__, __LINE__, "event lacks " + name);
}

}  // namespace

TEST(a_candidate_is_seen_as_the_image_that_it_would_become) {
  const at::NoGradGuard no_grad;
  const auto weights = Weights::open(kSource.transformer.weights, velocity_keys);
  const auto model = velocity_config_of(kSource.transformer.config, weights).plan(0);
  load_velocity_model(*model, weights, at::kFloat, test::device());
  const auto vae_weights = Weights::open(kSource.vae.weights, vae_keys);
  auto vae = make_vae(vae_config_of(kSource.vae.config, vae_weights));
  load_vae(vae, vae_weights, at::kFloat, test::device());
  at::manual_seed(1);
  const auto text = model->embed_text(
      {test::randn({2, 5, model->info().sequence_width}), test::randn({2, model->info().pooled_width})});
  const CandidateView view{*model, vae, text, at::kFloat, 0};
  const auto judge = std::make_shared<Brightness>();
  constexpr int64_t kRows = 18;  // of 16 x 16 latent pixels: more than are decoded at once
  const auto x = test::randn({kRows, 16, 16, 16});
  const double sigma = 0.25;
  std::vector<int64_t> image_of(kRows, 1);
  image_of[0] = image_of[1] = 0;
  const Control control;
  const auto scores = decoded_scorer(view, {judge, {{31}, {32}}, 2.0}, control)(x, sigma, image_of);
  CHECK_EQ(judge->read.size(), static_cast<size_t>(kRows));
  for (size_t i = 0; i < judge->read.size(); ++i) CHECK(judge->read[i] == std::vector<int64_t>{i < 2 ? 31 : 32});
  CHECK_EQ(judge->most_prompts, size_t{2});
  for (int64_t i = 0; i < kRows; ++i) {
    const auto one = x.narrow(0, i, 1);
    const auto v = model->velocity(one, at::full({1}, 250.0, x.options()),
                                   select_rows(text, std::vector<int64_t>{image_of[static_cast<size_t>(i)]}));
    const auto image = decode(vae, unscale_latents(vae.config, one - sigma * v));
    const auto expected = 2 * ((image.clamp(-1, 1) + 1) * 127.5).round().mean().item<double>();
    CHECK(std::abs(scores[i].item<double>() - expected) < 0.05);  // passes of other sizes round differently
  }
}

TEST(the_best_estimate_goes_on_and_brightness_is_reached) {
  const auto judge = std::make_shared<Brightness>();
  const auto events = sampled(guided(judge));
  size_t candidates = 0;
  for (size_t i = 0; i < events.size(); ++i) {
    if (events[i].kind != "candidate") continue;
    ++candidates;
    CHECK(std::abs(field<double>(events[i], "score") - brightness(events[i].bytes)) < 0.05);
    if (!field<bool>(events[i], "chosen")) continue;
    const auto first = i - static_cast<size_t>(field<double>(events[i], "candidate"));
    for (size_t other = first; other < first + 3; ++other)
      CHECK(field<double>(events[i], "score") >= field<double>(events[other], "score"));
  }
  CHECK_EQ(candidates, size_t{2 * 3 * 3});  // images, steps but the last, candidates
  const auto bright = brightness(events), dark = brightness(sampled(guided(std::make_shared<Brightness>(-1))));
  for (size_t i = 0; i < 2; ++i) CHECK(bright[i] > dark[i]);
  for (size_t i = 0; i < judge->read.size(); ++i)
    CHECK(judge->read[i] == std::vector<int64_t>{i % 6 < 3 ? 32 : 31});  // each image's own prompt
}

TEST(one_candidate_asks_no_scorer) {
  const auto judge = std::make_shared<Brightness>();
  auto r = guided(judge, 1);
  r.stepwise->score_until = 0;  // without a candidate's noise
  const auto events = sampled(r), plain = sampled(request());
  CHECK(judge->read.empty());
  CHECK_EQ(events.size(), plain.size());
  for (size_t i = 0; i < events.size(); ++i) CHECK(events[i].bytes == plain[i].bytes);
}

TEST(a_scorer_without_texts_is_given_none) {
  const auto judge = std::make_shared<Brightness>();
  auto r = guided(judge);
  r.stepwise->guide = ImageGuide{judge};
  CHECK(brightness(sampled(r)) == brightness(sampled(guided(std::make_shared<Brightness>()))));
  CHECK(judge->read.empty());
}

TEST(its_progress_is_kept_from_the_steps_and_cancelling_reaches_it) {
  Control control;
  std::vector<std::string> phases;
  control.on_progress = [&](const Progress& p) { phases.push_back(p.phase); };
  sampled(guided(std::make_shared<Brightness>()), control);
  for (const auto& phase : phases) CHECK(phase != "images");

  class Cancelling final : public Scorer {
   public:
    explicit Cancelling(Control& control) : control_(control) {}
    const ScorerInfo& info() const override { return info_; }
    Scores score(const ImagesToScore& r, Control& own) override {
      control_.cancelled = true;
      own.report({"images", 1, 1, 0});
      test::fail(__FILE__, __LINE__, "went on with " + std::to_string(r.images.size()) + " images");
    }

   private:
    Control& control_;
    ScorerInfo info_;
  };
  EXPECT_FAILURE(Cancelled, ({"cancelled"}), sampled(guided(std::make_shared<Cancelling>(control)), control));
}

TEST(a_prompt_that_is_not_there_is_refused) {
  auto r = guided(std::make_shared<Brightness>());
  r.stepwise->guide->row_of = {0, 2};
  EXPECT_FAILURE(Internal, ({"prompt for each image"}), sampled(r));
  r.stepwise->guide->row_of = {0};
  EXPECT_FAILURE(Internal, ({"prompt for each image"}), sampled(r));
}

DRM_TEST_MAIN
