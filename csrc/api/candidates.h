// Candidates of step-wise sampling as images: what each of them would become, and the events that tell of them.
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

/// The policy's estimates of x_0 from candidates (rows, C, h, w) fp32 at noise level `sigma`; row r belongs to image
/// image_of[r] of the view's text.
Tensor clean_estimates(const CandidateView& view, const Tensor& candidates, double sigma,
                       const std::vector<int64_t>& image_of);

/// Emits a "candidate" event for every candidate of a step; the batch begins with image `first_image`. Waits for
/// the device.
void tell_candidates(const BranchView& branch, const CandidateView& view, int64_t first_image, const Control& control);

}  // namespace drm
