#include "scorers/scorer.h"

#include "common/failure.h"

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

Scores Scorer::score(const ImagesToScore& r, Control& control) {
  const auto images = image_features(r.images, control), texts = text_features(r.prompts, control);
  if (r.prompt_of.size() != r.images.size())
    throw Failure(Code::BadRequest, "[score] expected a prompt for each of " + std::to_string(r.images.size()) +
                                        " images, found " + std::to_string(r.prompt_of.size()));
  Scores scores;
  for (size_t i = 0; i < r.prompt_of.size(); ++i) {
    const auto prompt = r.prompt_of[i];
    if (prompt < 0 || prompt >= texts.rows)
      throw Failure(Code::BadRequest,
                    "[score] prompt " + std::to_string(prompt) + ": expected one of " + std::to_string(texts.rows));
    double sum = 0;
    for (int64_t j = 0; j < images.width; ++j)
      sum += static_cast<double>(images.values[i * static_cast<size_t>(images.width) + static_cast<size_t>(j)]) *
             static_cast<double>(texts.values[static_cast<size_t>(prompt * texts.width + j)]);
    scores.values.push_back(static_cast<float>(sum));
  }
  return scores;
}

std::vector<float> Scorer::distances(const std::vector<Bitmap>&, const std::vector<std::pair<int64_t, int64_t>>&,
                                     Control&) {
  throw Failure(Code::BadRequest, "[score] this scorer compares no images: expected one that does, such as LPIPS");
}

}  // namespace drm
