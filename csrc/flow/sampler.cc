#include "flow/sampler.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace drm {
namespace {

TextEmbedding stack(const TextEmbedding& a, const TextEmbedding& b) {
  return {at::cat({a.context_BLD, b.context_BLD}, 0), at::cat({a.pooled_BD, b.pooled_BD}, 0)};
}

void require_finite(const Tensor& latents, int64_t step, int64_t steps, float timestep) {
  // One read-back a step, beside a network pass of milliseconds at least: a picture of NaN found at the end, minutes
  // later and without the step, is worth more than that.
  if (at::isfinite(latents).all().item<bool>()) return;
  const auto bad = at::isfinite(latents).logical_not().flatten(1).any(1).nonzero().flatten().to(at::kCPU);
  std::string rows;
  for (int64_t i = 0; i < bad.size(0); ++i) rows += (i ? ", " : "") + std::to_string(bad[i].item<int64_t>());
  throw Failure(Code::NotFinite,
                "[denoise] step " + std::to_string(step + 1) + " of " + std::to_string(steps) + " (timestep " +
                    std::to_string(timestep) + "): expected finite latents, found NaN or infinity in picture " + rows +
                    " of the batch; if it is step 1 the transformer's weights are damaged (verify them with `drm "
                    "pull`), else try --dtype fp32",
                {{"step", std::to_string(step + 1)}, {"steps", std::to_string(steps)}});
}

}  // namespace

Tensor initial_latents(uint64_t seed, int64_t channels, int64_t height, int64_t width, at::ScalarType dtype) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn({1, channels, height, width}, generator, at::TensorOptions().dtype(dtype)).to(at::kFloat);
}

Tensor denoise(const MMDiT& m, Tensor latents, const Conditioning& text, const Schedule& schedule,
               const Guidance& guidance, const Control& control, const StepObserver& observer) {
  const auto dtype = m.proj_out.weight.scalar_type();
  const auto batch = latents.size(0);
  const auto steps = static_cast<int64_t>(schedule.timesteps.size());
  const bool guided = guidance.scale > 1;
  const auto both = guided ? stack(text.unconditional, text.conditional) : text.conditional;
  for (int64_t i = 0; i < steps; ++i) {
    control.check();
    const auto timestep = at::full({both.pooled_BD.size(0)}, schedule.timesteps[i], latents.options());
    const auto x = latents.to(dtype);
    StepView view{i, schedule.timesteps[i], {}, {}, {}, {}};
    const auto v = velocity(m, guided ? at::cat({x, x}, 0) : x, timestep, both);
    if (guided) {
      view.unconditional = v.narrow(0, 0, batch);
      view.conditional = v.narrow(0, batch, batch);
      view.velocity = guide(view.unconditional, view.conditional, guidance.scale);
      if (!guidance.skip_layers.empty() && i > steps * guidance.skip_start && i < steps * guidance.skip_stop) {
        const auto skipped =
            velocity(m, x, timestep.narrow(0, 0, batch), text.conditional, {guidance.skip_layers, nullptr});
        view.velocity =
            view.velocity + guidance.skip_scale * (view.conditional.to(at::kFloat) - skipped.to(at::kFloat));
      }
    } else {
      view.conditional = v;
      view.velocity = v.to(at::kFloat);
    }
    latents = euler_step(latents, view.velocity, schedule.sigmas[i], schedule.sigmas[i + 1]);
    require_finite(latents, i, steps, schedule.timesteps[i]);
    view.latents = latents;
    if (observer) observer(view);
  }
  return latents;
}

}  // namespace drm
