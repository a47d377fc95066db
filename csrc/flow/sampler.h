// The denoising loop: Euler on the flow-matching ODE with classifier-free guidance. Latents stay in fp32 between steps;
// the network sees them in its own dtype.
#pragma once
#include <functional>
#include <optional>

#include "common/control.h"
#include "flow/scheduler.h"
#include "mmdit/mmdit.h"

namespace drm {

/// Initial noise of one picture, (1, C, h, w): drawn in `dtype` from libtorch's CPU generator of that seed, as
/// torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=dtype) gives it; returned in fp32.
Tensor initial_latents(uint64_t seed, int64_t channels, int64_t height, int64_t width, at::ScalarType dtype);

struct Guidance {
  double scale = 4.5;                // classifier-free guidance runs when > 1
  std::vector<int64_t> skip_layers;  // skip-layer guidance: runs when not empty
  double skip_scale = 2.8, skip_start = 0.01, skip_stop = 0.2;
};

/// Text of the B pictures of a batch; `unconditional` is needed when guidance runs.
struct Conditioning {
  TextEmbedding conditional, unconditional;
};

/// Called after each step with its index, the step's velocity (guided, fp32), the latents after it and the halves the
/// velocity was made of (unconditional undefined without guidance).
struct StepView {
  int64_t index;
  float timestep;
  Tensor unconditional, conditional, velocity, latents;
};
using StepObserver = std::function<void(const StepView&)>;

/// latents (B, C, h, w) fp32 at the first sigma -> latents at sigma 0, fp32. Checks `control` before each step.
/// Throws Failure(NotFinite) naming the step at which NaN or infinity first appears.
Tensor denoise(const MMDiT& m, Tensor latents, const Conditioning& text, const Schedule& schedule,
               const Guidance& guidance, const Control& control, const StepObserver& observer = {});

}  // namespace drm
