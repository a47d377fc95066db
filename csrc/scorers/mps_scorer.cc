#include "scorers/mps_scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "common/stopwatch.h"
#include "runtime/device.h"
#include "scorers/clip_images.h"
#include "scorers/clip_texts.h"
#include "scorers/distinct.h"
#include "scorers/mps_model.h"
#include "scorers/passes.h"

namespace drm {
namespace {

using Rows = std::vector<std::vector<int64_t>>;

/// An image and its prompt, as indices.
struct Pair {
  size_t image, prompt;
  bool operator==(const Pair&) const = default;
};

/// The images, or prompts, of pairs begin to end.
std::vector<size_t> column(const std::vector<Pair>& pairs, size_t begin, size_t end, size_t Pair::*which) {
  std::vector<size_t> all;
  for (auto i = begin; i < end; ++i) all.push_back(pairs[i].*which);
  return all;
}

at::Tensor indices(const std::vector<size_t>& all) {
  return at::tensor(std::vector<int64_t>(all.begin(), all.end()), at::kLong);
}

/// clip_rows() whose padding is the end token.
at::Tensor mps_rows(const Rows& ids, const ClipConfig& config) {
  const auto last = end_token(config);
  auto rows = clip_rows("mps", ids, 0, ids.size(), config);
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto after = std::find(ids[i].begin(), ids[i].end(), last);
    const auto other = std::find_if(after, ids[i].end(), [&](int64_t id) { return id != last; });
    if (other != ids[i].end())
      throw Failure(Code::BadRequest, "[mps] caption " + std::to_string(i) + ": expected the end token " +
                                          std::to_string(last) + " as its padding, found " + std::to_string(*other) +
                                          "; MPS looks at the padding, too");
  }
  return rows;
}

class MpsScorer final : public Scorer {
 public:
  MpsScorer(const ScorerSource& source, const LoadOptions& options, Control& control)
      : device_(parse_device(options.device)), model_(make_mps_model(read_mps_config(source.config))) {
    const auto& vision = model_.clip.vision.config;
    how_.size = vision.image_size;
    if (!source.preprocessor_config.empty()) check_preprocessor(source.preprocessor_config, how_);
    const auto dtype = parse_dtype(options.dtype);
    info_.device = device_.str();
    info_.dtype = options.dtype;
    info_.parameters = size_of(model_).parameters;
    info_.weight_bytes = info_.parameters * static_cast<int64_t>(at::elementSize(dtype));
    info_.image_size = vision.image_size;
    info_.tokens = model_.clip.text.config.max_position_embeddings;
    std::shared_ptr<Json> keep;
    const auto settings = scorer_settings(source, keep);
    const auto condition = mps_rows({settings.integers("condition")}, model_.clip.text.config);
    threshold_ = settings.number("threshold", 0.3);
    if (!(threshold_ >= 0 && threshold_ < 1))
      throw Failure(Code::BadConfig, "[config] threshold in " + settings.file() +
                                         ": expected a number from 0 to below 1, found " + std::to_string(threshold_));
    const Stopwatch clock;
    const auto progress = [&](uint64_t done, uint64_t total) {
      control.check();
      control.report({"load", static_cast<int64_t>(done), static_cast<int64_t>(total), clock.seconds()});
    };
    const auto read = [](const std::vector<std::string>& names) { return plain_keys(names, "", "MPS's own"); };
    const auto weights = Weights::open(source.weights, read, Pickles::Read);
    load_mps_model(model_, weights, dtype, device_, progress);
    info_.logit_scale = checked_logit_scale(model_.clip, weights);
    const at::NoGradGuard no_grad;
    condition_ = mps_texts(model_, condition.to(device_)).tokens;
  }

  const ScorerInfo& info() const override { return info_; }

  Scores score(const ImagesToScore& r, Control& control) override {
    const std::lock_guard<std::mutex> one_at_a_time(mutex_);
    check_prompts(r);
    const auto image_of = distinct(r.images), prompt_of = distinct(r.prompts);
    std::vector<Pair> asked;
    for (size_t i = 0; i < r.images.size(); ++i)
      asked.push_back(
          {image_of.first[image_of.of[i]], prompt_of.first[prompt_of.of[static_cast<size_t>(r.prompt_of[i])]]});
    // By prompt, so that those of one prompt are looked at together and it is read once.
    auto pairs = asked;
    const auto key = [](const Pair& p) { return std::pair(p.prompt, p.image); };
    const auto before = [&](const Pair& a, const Pair& b) { return key(a) < key(b); };
    std::sort(pairs.begin(), pairs.end(), before);
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
    const auto found = judge(r, pairs, control);
    const auto* values = found.const_data_ptr<float>();
    Scores scores;
    for (const auto& pair : asked)
      scores.values.push_back(values[std::lower_bound(pairs.begin(), pairs.end(), pair, before) - pairs.begin()]);
    return scores;
  }

 private:
  /// (pairs) scores; each image and each prompt of a pass goes through its tower once.
  at::Tensor judge(const ImagesToScore& r, const std::vector<Pair>& pairs, Control& control) const {
    const auto rows = mps_rows(r.prompts, model_.clip.text.config);
    const auto prepare = [&](size_t begin, size_t end) {
      const auto images = column(pairs, begin, end, &Pair::image);
      std::vector<Bitmap> some;
      for (const auto i : distinct(images).firsts(images)) some.push_back(r.images[i]);
      return prepared_for_clip(some, 0, some.size(), how_);
    };
    const auto network = [&](const at::Tensor& ready, size_t begin, size_t end) {
      const auto prompts = column(pairs, begin, end, &Pair::prompt);
      const auto image_of = distinct(column(pairs, begin, end, &Pair::image)), prompt_of = distinct(prompts);
      const auto texts = mps_texts(model_, rows.index_select(0, indices(prompt_of.firsts(prompts))).to(device_));
      const auto keep = condition_similarity(texts.tokens, condition_).gt(threshold_);
      const auto images = mps_image_tokens(model_, clip_input(ready, device_));
      const auto prompt = indices(prompt_of.of).to(device_);
      return mps_scores(model_, images.index_select(0, indices(image_of.of).to(device_)),
                        {texts.tokens.index_select(0, prompt), texts.end.index_select(0, prompt)},
                        keep.index_select(0, prompt));
    };
    const auto tokens = 1 + model_.clip.vision.config.patches() + info_.tokens;
    return in_passes({"mps", "images"}, pairs.size(), tokens, prepare, network, control);
  }

  at::Device device_;
  MpsModel model_;
  ClipImages how_;
  double threshold_ = 0.3;
  at::Tensor condition_;  // (1, L, P) tokens
  ScorerInfo info_;
  std::mutex mutex_;
};

}  // namespace

std::shared_ptr<Scorer> load_mps_scorer(const ScorerSource& source, const LoadOptions& options, Control& control) {
  return std::make_shared<MpsScorer>(source, options, control);
}

}  // namespace drm
