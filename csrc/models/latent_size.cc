#include "models/latent_size.h"

#include <algorithm>

#include "common/failure.h"

namespace drm {

int64_t latent_side(const VelocityModelInfo& model, int64_t vae_factor, int64_t asked, const std::string& what) {
  const auto unit = vae_factor * model.patch_size, limit = unit * model.most_patches;
  const auto size = asked ? asked : model.default_size * vae_factor;
  if (size < unit || size % unit)
    throw Failure(Code::BadRequest, what + ": expected a multiple of " + std::to_string(unit) + " (VAE factor " +
                                        std::to_string(vae_factor) + " x patch " + std::to_string(model.patch_size) +
                                        "), found " + std::to_string(size) + "; nearest: " +
                                        std::to_string(std::clamp((size + unit / 2) / unit * unit, unit, limit)));
  if (size > limit)
    throw Failure(Code::BadRequest, what + ": expected at most " + std::to_string(limit) +
                                        " (the model's position table), found " + std::to_string(size));
  return size / vae_factor;
}

}  // namespace drm
