// The rule that sizes in pixels follow.
#pragma once
#include <string>

#include "models/velocity_model.h"

namespace drm {

/// Latent pixels of a side of `asked` pixels; 0: the model's default. Throws Failure(BadRequest), which begins with
/// `what` ("[sample] height"), unless it is a multiple of VAE factor times patch that the model has positions for.
int64_t latent_side(const VelocityModelInfo& model, int64_t vae_factor, int64_t asked, const std::string& what);

}  // namespace drm
