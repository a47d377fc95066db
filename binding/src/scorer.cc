// Scorer: load, info, features, scores, dispose; and what needs no model: CMMD and Pillow's resampling.
#include "arguments.h"
#include "exported.h"
#include "job.h"
#include "load.h"
#include "requests.h"
#include "scorer_handle.h"
#include "scorers/letterbox.h"
#include "scorers/registry.h"
#include "values.h"

namespace drm::binding {
namespace {

Napi::Value images_to_js(Napi::Env env, std::vector<Bitmap>&& images) {
  auto out = Napi::Array::New(env, images.size());
  for (uint32_t i = 0; i < images.size(); ++i) {
    auto image = Napi::Object::New(env);
    image["width"] = static_cast<double>(images[i].width);
    image["height"] = static_cast<double>(images[i].height);
    image["pixels"] = adopt_bytes(env, std::move(images[i].pixels));
    out[i] = image;
  }
  return out;
}

Features features_from_js(const Fields& fields) {
  return {fields.floats("values"), fields.integer("rows"), fields.integer("width")};
}

Napi::Value features_to_js(Napi::Env env, Features&& features) {
  auto out = Napi::Object::New(env);
  out["values"] = to_js(env, features.values);
  out["rows"] = static_cast<double>(features.rows);
  out["width"] = static_cast<double>(features.width);
  return out;
}

}  // namespace

DRM_EXPORT(loadScorer) {
  const Fields source(info[0], "scorer source");
  return load_with<Scorer>(info, "drm.loadScorer", load_scorer,
                           ScorerSource{source.text("kind"), source.text("config"), source.texts("weights"),
                                        source.has("preprocessorConfig") ? source.text("preprocessorConfig") : "",
                                        source.has("settings") ? source.text("settings") : ""});
}

DRM_EXPORT(scorerInfo) {
  const auto scorer = Handle<Scorer>::get(info[0], "scorerInfo");
  const auto& facts = scorer->info();
  auto out = model_info_to_js(info.Env(), facts,
                              {{"parameters", facts.parameters},
                               {"imageSize", facts.image_size},
                               {"tokens", facts.tokens},
                               {"width", facts.width}});
  out["logitScale"] = facts.logit_scale;
  return out;
}

DRM_EXPORT(scorerImageFeatures) {
  return Job<Features>::start(
      info.Env(), "drm.scorerImageFeatures", listener(info[2]),
      [scorer = Handle<Scorer>::get(info[0], "scorerImageFeatures"),
       images = bitmaps_from_js(Fields(info[1], "images"), "images")](Control& control) {
        return scorer->image_features(images, control);
      },
      features_to_js);
}

DRM_EXPORT(scorerTextFeatures) {
  std::vector<std::vector<int64_t>> ids;
  for (const auto& row : Fields(info[1], "captions").objects("captions")) ids.push_back(row.token_ids("ids"));
  return Job<Features>::start(
      info.Env(), "drm.scorerTextFeatures", listener(info[2]),
      [scorer = Handle<Scorer>::get(info[0], "scorerTextFeatures"), ids = std::move(ids)](Control& control) {
        return scorer->text_features(ids, control);
      },
      features_to_js);
}

DRM_EXPORT(scorerScore) {
  const Fields request(info[1], "images to score");
  ImagesToScore r;
  r.images = bitmaps_from_js(request, "images");
  for (const auto& row : request.objects("captions")) r.prompts.push_back(row.token_ids("ids"));
  r.prompt_of = request.integers("promptOf");
  return Job<Scores>::start(
      info.Env(), "drm.scorerScore", listener(info[2]),
      [scorer = Handle<Scorer>::get(info[0], "scorerScore"), r = std::move(r)](Control& control) {
        return scorer->score(r, control);
      },
      [](Napi::Env env, Scores&& scores) -> Napi::Value {
        auto out = Napi::Object::New(env);
        out["values"] = to_js(env, scores.values);
        if (!scores.deviations.empty()) out["deviations"] = to_js(env, scores.deviations);
        return out;
      });
}

DRM_EXPORT(scorerDistances) {
  const Fields request(info[1], "images to compare");
  const auto first = request.integers("first"), second = request.integers("second");
  if (first.size() != second.size()) throw Failure(Code::Internal, "[binding] images to compare: pairs of two lengths");
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (size_t i = 0; i < first.size(); ++i) pairs.emplace_back(first[i], second[i]);
  return Job<std::vector<float>>::start(
      info.Env(), "drm.scorerDistances", listener(info[2]),
      [scorer = Handle<Scorer>::get(info[0], "scorerDistances"), images = bitmaps_from_js(request, "images"),
       pairs = std::move(pairs)](Control& control) { return scorer->distances(images, pairs, control); },
      [](Napi::Env env, std::vector<float>&& distances) -> Napi::Value { return to_js(env, distances); });
}

DRM_EXPORT(disposeScorer) {
  Handle<Scorer>::dispose(info.Env(), info[0], "disposeScorer");
  return info.Env().Undefined();
}

DRM_EXPORT(cmmd) {
  const Fields request(info[0], "cmmd");
  return Job<Cmmd>::start(
      info.Env(), "drm.cmmd", listener(info[1]),
      [a = features_from_js(request.object("a")), b = features_from_js(request.object("b"))](Control&) {
        return cmmd(a, b);
      },
      [](Napi::Env env, Cmmd&& result) -> Napi::Value {
        auto out = Napi::Object::New(env);
        out["biased"] = result.biased;
        out["unbiased"] = result.unbiased;
        return out;
      });
}

DRM_EXPORT(resizeImages) {
  const Fields request(info[0], "resize");
  const auto rule = request.has("square") ? request.text("square") : "";
  return Job<std::vector<Bitmap>>::start(
      info.Env(), "drm.resizeImages", listener(info[1]),
      [images = bitmaps_from_js(request, "images"), height = request.integer("height"),
       width = request.integer("width"), rule](Control& control) {
        std::vector<Bitmap> out;
        for (const auto& image : images) {
          control.check();
          out.push_back(rule.empty()
                            ? pillow_bicubic(image, height, width)
                            : pillow_square(image, height,
                                            rule == "torchvision" ? CropRule::Torchvision : CropRule::Transformers));
        }
        return out;
      },
      images_to_js);
}

DRM_EXPORT(letterboxImages) {
  const Fields request(info[0], "letterbox");
  return Job<Features>::start(
      info.Env(), "drm.letterboxImages", listener(info[1]),
      [images = bitmaps_from_js(request, "images"), size = request.integer("size"),
       antialias = request.flag("antialias")](Control& control) {
        Features out{{}, 0, 3 * size * size};
        for (const auto& image : images) {
          control.check();
          const auto row = letterbox(image, size, antialias);
          out.values.insert(out.values.end(), row.begin(), row.end());
          ++out.rows;
        }
        return out;
      },
      features_to_js);
}

}  // namespace drm::binding
