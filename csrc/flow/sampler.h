// The denoising loop: Euler on the flow-matching ODE with classifier-free guidance, or step-wise sampling by a reward.
// Latents stay in fp32 between steps; the networks see them in their own dtype.
#pragma once
#include <functional>
#include <optional>

#include "common/control.h"
#include "flow/branch.h"
#include "flow/select.h"
#include "flow/skip_layer_guidance.h"
#include "flow/walk.h"
#include "models/velocity_model.h"

namespace drm {

/// Initial noise of one image, (1, C, h, w): drawn in `dtype` from libtorch's CPU generator of that seed, as
/// torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=dtype) gives it; returned in fp32.
Tensor initial_latents(uint64_t seed, int64_t channels, int64_t height, int64_t width, at::ScalarType dtype);

struct Guidance {
  double scale = 4.5;  // classifier-free guidance runs when > 1
  SkipLayerGuidance skip = {};
};

/// Text of the B images of a batch; `unconditional` is needed when guidance runs.
struct Conditioning {
  TextEmbedding conditional, unconditional;
};

/// Called after each step with its index, the velocities that it went along (halves, where guidance combines nothing
/// else with them) and the latents after it.
struct StepView {
  int64_t index;
  float timestep;
  GuidedVelocity velocity;
  Tensor latents;
};
using StepObserver = std::function<void(const StepView&)>;

/// A step at which candidates were scored.
struct BranchView {
  int64_t index;
  float sigma;        // of the candidates
  Tensor candidates;  // (B, K, C, h, w) fp32
  Tensor scores;      // (B, K) fp32
  Tensor chosen;      // (B) int64
};
using BranchObserver = std::function<void(const BranchView&)>;

/// Scores of candidates (rows, C, h, w) fp32, all at noise level sigma; row r belongs to image image_of[r]. (rows)
/// in any floating-point dtype, on the candidates' device.
using LatentScorer =
    std::function<Tensor(const Tensor& candidates, double sigma, const std::vector<int64_t>& image_of)>;

/// Step-wise sampling (section 3.4): at each step k candidates branch by the SDE step at `noise_level`, are scored at
/// their own noise level, and the chosen one goes on. k = 1 is plain sampling, or with `sde` one path with a
/// candidate's noise and without a choice. The last step, and steps outside the window, are Euler steps.
constexpr int64_t kMostCandidates = 1024;

struct Stepwise {
  int64_t k = 1;
  bool sde = false;  // k = 1: with noise. What noise alone does, beside what the choice does
  double noise_level = 0.7;
  double temperature = 0;                  // of the choice; 0: the best
  double score_from = 0, score_until = 1;  // fractions of the trajectory: steps i with from <= i / n < until
  int64_t rows_per_pass = 0;    // candidates scored at once, bounded by memory; 0: all. Does not change scores
  std::vector<uint64_t> seeds;  // of each image: key the candidates' noise and the soft choice
  LatentScorer score;
  BranchObserver observer;  // may read the device; without it nothing waits for the device between steps
  bool adds_noise() const { return k > 1 || sde; }
  bool branches_at(int64_t step, int64_t steps) const {
    const double at = static_cast<double>(step) / static_cast<double>(steps);
    return adds_noise() && step + 1 < steps && at >= score_from && at < score_until;
  }
};

/// Wall time of the parts of a run on a CPU. (On a GPU work is only queued here, and these say little.)
struct SamplingTimes {
  double policy = 0, branch = 0, reward = 0;
};

/// latents (B, C, h, w) fp32 at the first sigma -> latents at sigma 0, fp32. Checks `control` before each step.
/// Throws Failure(NotFinite) naming the step at which NaN or infinity first appears, or at which a reward was NaN for
/// all of an image's candidates: at once on a CPU, and on a GPU at once for k = 1, else at the end.
Tensor denoise(const GuidedPolicy& policy, Tensor latents, const Schedule& schedule, const Stepwise& stepwise,
               const Control& control, const StepObserver& observer = {}, SamplingTimes* times = nullptr);

/// Scores (B, K) fp32 of candidates (B, K, C, h, w), at most `rows_per_pass` at once (0: all).
Tensor score_candidates(const LatentScorer& score, const Tensor& candidates, double sigma, int64_t rows_per_pass);

/// The network's velocities at latents (B, C, h, w) for guidance: `text` holds B unconditional rows, then B
/// conditional ones, which go through it in one pass; with a scale of at most 1 the conditional alone.
GuidedVelocity guided_velocity(const VelocityModel& m, const Tensor& latents, float timestep, const TextEmbedding& text,
                               double scale, const VelocityOptions& options = {});
/// The text that it takes.
TextEmbedding text_for_guidance(const Conditioning& text, double scale);

/// The policy of a velocity network; refers to its arguments.
GuidedPolicy network_policy(const VelocityModel& m, const Conditioning& text, const Schedule& schedule,
                            const Guidance& guidance);

/// Plain sampling from a network.
Tensor denoise(const VelocityModel& m, Tensor latents, const Conditioning& text, const Schedule& schedule,
               const Guidance& guidance, const Control& control, const StepObserver& observer = {});

}  // namespace drm
