// What step-wise sampling chose among, told image by image.
#pragma once
#include "flow/sampler.h"
#include "vae/autoencoder.h"

namespace drm {

/// What makes a candidate visible: the policy reads it once more, without guidance, and its estimate of x_0 is decoded.
struct CandidateView {
  const VelocityModel& policy;
  const Vae& vae;
  const TextEmbedding& text;  // of the batch's images
  at::ScalarType dtype;
  int64_t tile;
};

/// Emits a "candidate" event for every candidate of a step; the batch begins with image `first_image`. Waits for
/// the device.
void tell_candidates(const BranchView& branch, const CandidateView& view, int64_t first_image, const Control& control);

}  // namespace drm
