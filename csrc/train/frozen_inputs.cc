#include "train/frozen_inputs.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace drm {

FrozenInputs::FrozenInputs(const PipelineSource& source, int64_t t5_length, int64_t joint_width, at::ScalarType dtype,
                           at::Device device, Control& control)
    : device_(device),
      t5_length_(t5_length),
      joint_width_(joint_width),
      vae_(make_vae(read_vae_config(source.vae.config))),
      encoders_(
          load_text_encoders(plan_text_encoders(source), dtype, device, [&](uint64_t, uint64_t) { control.check(); })) {
  load_vae(vae_, Weights::open(source.vae.weights, Component::Vae), at::kFloat, device);
}

void FrozenInputs::cache_latents(const TrainBatch& batch) {
  const at::NoGradGuard no_grad;
  const auto p = encode(batch);
  const auto& ids = batch.picture_ids();
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    latents_[ids[i]] = at::stack({p.mean[row], p.standard_deviation()[row]}).to(at::kCPU, at::kFloat);
  }
}

void FrozenInputs::cache_prompts(const std::vector<PromptTokens>& prompts, Control& control) {
  const at::NoGradGuard no_grad;
  prompts_ = encode_prompts(encoders_, prompts, t5_length_, joint_width_, device_, control);
  encoders_.free();
}

std::pair<Tensor, Tensor> FrozenInputs::posterior_of(const TrainBatch& batch) const {
  const at::NoGradGuard no_grad;
  if (!batch.pixels.empty()) {
    const auto p = encode(batch);
    return {p.mean, p.standard_deviation()};
  }
  std::vector<Tensor> all;
  for (const auto id : batch.picture_ids()) {
    const auto it = latents_.find(id);
    if (it == latents_.end())
      throw Failure(Code::BadRequest, "[train] picture " + std::to_string(id) + ": its latents were never cached");
    all.push_back(it->second);
  }
  const auto both = at::stack(all).to(device_);
  return {both.select(1, 0), both.select(1, 1)};
}

PromptEmbeds FrozenInputs::rows(const Tensor& rows) const {
  if (!prompts_.sequence.defined()) throw Failure(Code::BadRequest, "[train] the prompts were never cached");
  return {prompts_.sequence.index_select(0, rows), prompts_.pooled.index_select(0, rows)};
}

PromptEmbeds FrozenInputs::prompts_of(const TrainBatch& batch) const {
  if (batch.prompts.empty()) return rows(at::tensor(batch.texts, at::kLong).to(device_));
  if (!encoders_.loaded)
    throw Failure(Code::BadRequest, "[train] prompts to encode: the text encoders were given back after caching");
  const at::NoGradGuard no_grad;
  return encode_prompts(encoders_, batch.prompts, t5_length_, joint_width_, device_, Control());
}

Posterior FrozenInputs::encode(const TrainBatch& batch) const {
  const auto f = vae_.config.factor();
  if (batch.height % f || batch.width % f)
    throw Failure(Code::BadRequest, "[train] pictures of " + std::to_string(batch.width) + " x " +
                                        std::to_string(batch.height) + ": expected multiples of " + std::to_string(f) +
                                        "; set --size");
  // In full precision under autocast too, as the reference encodes.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto x = picture_from_bytes(batch_pixels(batch).to(device_).permute({0, 3, 1, 2}));
  return posterior(encode_moments(vae_, x).to(at::kFloat));
}

}  // namespace drm
