#include "scorers/clip_images.h"

#include <ATen/ATen.h>

#include <array>
#include <cmath>

#include "common/failure.h"
#include "scorers/clip_vision.h"
#include "scorers/letterbox.h"
#include "scorers/passes.h"

namespace drm {

using Rule = ClipImages::Rule;

ClipImages read_clip_images(const ConfigReader& settings, int64_t size) {
  const auto pixels = settings.one_of("pixels", {"transformers", "torchvision", "letterbox"});
  return {size,
          pixels == "letterbox"     ? Rule::Letterbox
          : pixels == "torchvision" ? Rule::Torchvision
                                    : Rule::Transformers,
          settings.boolean("antialias", true)};
}

void check_preprocessor(const std::string& path, const ClipImages& how) {
  const auto json = Json::read(path);
  const auto bad = [&](const std::string& what) {
    throw Failure(Code::BadConfig,
                  "[config] " + path + ": expected CLIP's preprocessing" +
                      (how.rule == Rule::Letterbox ? " with the whole image in a square" : "") + ", found " + what +
                      "; its scores would mean something else than this model's",
                  {{"file", path}});
  };
  const auto numbers = [&](const char* key, const std::array<double, 3>& clip) {
    const auto* found = json.find(key);
    if (!found || found->is_null()) return;
    if (!found->is_array() || found->items().size() != 3) bad(std::string("no three numbers as ") + key);
    for (size_t i = 0; i < 3; ++i)
      if (!found->items()[i].is_number() || std::abs(found->items()[i].as_double() - clip[i]) > 1e-6)
        bad(std::string("another ") + key);
  };
  numbers("image_mean", kClipMean);
  numbers("image_std", kClipDeviation);
  if (const auto* resample = json.find("resample"); resample && !(resample->is_int() && resample->as_int() == 3))
    bad("another resample than 3 (bicubic)");
  const auto flag = [&](const char* key, bool only) {
    if (const auto* found = json.find(key); found && found->is_bool() && found->as_bool() != only)
      bad(std::string(key) + (only ? " false" : " true"));
  };
  for (const char* key : {"do_resize", "do_rescale", "do_normalize"}) flag(key, true);
  flag("do_center_crop", how.rule != Rule::Letterbox);
  // {"height", "width"}, {"shortest_edge"}, or a number in older files.
  for (const char* key : {"crop_size", "size"}) {
    const auto* found = json.find(key);
    if (!found) continue;
    std::vector<const Json*> sides{found};
    if (found->is_object()) {
      sides.clear();
      for (const auto& [name, side] : found->members()) sides.push_back(&side);
    }
    for (const auto* side : sides)
      if (!side->is_int() || side->as_int() != how.size)
        bad(std::string("a ") + key + " other than the config's image_size " + std::to_string(how.size));
  }
}

at::Tensor prepared_for_clip(const std::vector<Bitmap>& images, size_t begin, size_t end, const ClipImages& how) {
  if (how.rule == Rule::Letterbox)
    return prepared_floats(images, begin, end, how.size,
                           [&](const Bitmap& image) { return letterbox(image, how.size, how.antialias); });
  const auto rule = how.rule == Rule::Torchvision ? CropRule::Torchvision : CropRule::Transformers;
  return prepared(images, begin, end, [&](const Bitmap& image) { return pillow_square(image, how.size, rule); });
}

at::Tensor clip_input(const at::Tensor& prepared, at::Device device) {
  const auto there = prepared.to(device);
  return there.scalar_type() == at::kByte ? clip_pixels(there) : there;
}

}  // namespace drm
