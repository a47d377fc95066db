#include "scorers/scorer.h"

#include <functional>
#include <numeric>

#include "common/failure.h"
#include "scorers/distinct.h"

namespace drm {

ConfigReader scorer_settings(const ScorerSource& source, std::shared_ptr<Json>& keep) {
  const auto where = "settings of the scorer " + source.kind;
  keep = std::make_shared<Json>(Json::parse(source.settings.empty() ? "{}" : source.settings, where));
  return {*keep, where};
}

Features Scorer::image_features(const std::vector<Bitmap>&, Control&) {
  throw Failure(Code::BadRequest, "[score] this scorer has no features of images: expected one that has, such as CLIP");
}

Features Scorer::text_features(const std::vector<std::vector<int64_t>>&, Control&) {
  throw Failure(Code::BadRequest, "[score] this scorer has no features of texts: expected one that has, such as CLIP");
}

void check_prompts(const ImagesToScore& r) {
  if (r.prompt_of.size() != r.images.size())
    throw Failure(Code::BadRequest, "[score] expected a prompt for each of " + std::to_string(r.images.size()) +
                                        " images, found " + std::to_string(r.prompt_of.size()));
  for (const auto prompt : r.prompt_of)
    if (prompt < 0 || prompt >= static_cast<int64_t>(r.prompts.size()))
      throw Failure(Code::BadRequest, "[score] prompt " + std::to_string(prompt) + ": expected one of " +
                                          std::to_string(r.prompts.size()));
}

Scores Scorer::score(const ImagesToScore& r, Control& control) {
  check_prompts(r);
  const auto image_of = distinct(r.images), prompt_of = distinct(r.prompts);
  const auto images = image_features(image_of.firsts(r.images), control);
  const auto texts = text_features(prompt_of.firsts(r.prompts), control);
  Scores scores;
  for (size_t i = 0; i < r.images.size(); ++i) {
    const auto width = static_cast<size_t>(images.width);
    const auto* image = images.values.data() + image_of.of[i] * width;
    const auto* text = texts.values.data() + prompt_of.of[static_cast<size_t>(r.prompt_of[i])] * width;
    const auto product = [](float x, float y) { return static_cast<double>(x) * static_cast<double>(y); };
    scores.values.push_back(
        static_cast<float>(std::inner_product(image, image + width, text, 0.0, std::plus<>(), product)));
  }
  return scores;
}

std::vector<float> Scorer::distances(const std::vector<Bitmap>&, const std::vector<std::pair<int64_t, int64_t>>&,
                                     Control&) {
  throw Failure(Code::BadRequest, "[score] this scorer compares no images: expected one that does, such as LPIPS");
}

}  // namespace drm
