// Training an AutoencoderKL from images alone: reconstruction plus a small pull of the posterior to N(0, 1).
#pragma once
#include <memory>

#include "train/objective.h"

namespace drm {

/// Reads batch.pixels. Metrics of a step: "l1", "l2", "edges", "kl". Of an evaluation: "psnr" in dB (mean over images
/// of the mode's reconstruction, clamped to [0, 1]), and "latent_mean" and "latent_square", means over the mode's
/// elements, of which the VAE config's shift and scale are made.
/// Throws Failure(BadConfig | BadFile | KeysMismatch).
std::unique_ptr<Objective> vae_objective(const VaeSpec& spec, uint64_t seed, at::Device device);

}  // namespace drm
