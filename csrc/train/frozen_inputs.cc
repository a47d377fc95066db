#include "train/frozen_inputs.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <sstream>

#include "tensor_io/safetensors.h"
#include "vae/vae_keys.h"

namespace drm {
namespace {

/// Of a VAE call: 16 images of 512 x 512, whose activations take some gigabytes.
constexpr int64_t kPixelsAtOnce = 1 << 22;

}  // namespace

FrozenInputs::FrozenInputs(const PipelineSource& source, int64_t t5_length, std::shared_ptr<const VelocityModel> model,
                           at::ScalarType dtype, at::Device device, Control& control)
    : device_(device),
      t5_length_(t5_length),
      model_(std::move(model)),
      vae_(make_vae(read_vae_config(source.vae.config))),
      encoders_(
          load_text_encoders(plan_text_encoders(source), dtype, device, [&](uint64_t, uint64_t) { control.check(); })) {
  load_vae(vae_, Weights::open(source.vae.weights, vae_keys), at::kFloat, device);
}

bool FrozenInputs::fit() const {
  const auto& m = model_->info();
  return vae_.config.latent_channels == m.in_channels && reads_pooled_of(m, encoders_);
}

void FrozenInputs::require_fit(const std::string& config_file, const char* where) const {
  if (!fit())
    throw Failure(Code::BadConfig,
                  std::string("[") + where + "] " + config_file + ": in_channels and pooled_projection_dim must be " +
                      std::to_string(vae_.config.latent_channels) + " and " + std::to_string(encoders_.pooled_width()) +
                      " as the VAE and the text encoders have them");
}

void FrozenInputs::cache_latents(const TrainBatch& batch) {
  const at::NoGradGuard no_grad;
  const auto p = encode(batch);
  const auto& ids = batch.image_ids();
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    latents_[ids[i]] = at::stack({p.mean[row], p.standard_deviation()[row]}).to(at::kCPU, at::kFloat);
  }
}

void FrozenInputs::cache_prompts(const std::vector<PromptTokens>& prompts, Control& control) {
  const at::NoGradGuard no_grad;
  prompts_ = {encode_prompts(*model_, encoders_, prompts, t5_length_, device_, control)};
  encoders_.free();
}

void FrozenInputs::save_latents(const TrainBatch& batch, const std::string& path, at::ScalarType dtype) const {
  const at::NoGradGuard no_grad;
  const auto p = encode(batch);
  save_safetensors(path, {{"latents", at::stack({p.mean, p.standard_deviation()}, 1).to(dtype)}});
}

void FrozenInputs::save_prompts(const std::vector<PromptTokens>& prompts, const std::string& path, at::ScalarType dtype,
                                Control& control) const {
  const at::NoGradGuard no_grad;
  const auto e = encode_prompts(*model_, encoders_, prompts, t5_length_, device_, control);
  std::vector<std::pair<std::string, Tensor>> parts{{"sequence", e.sequence.to(dtype)}};
  if (e.pooled.defined()) parts.emplace_back("pooled", e.pooled.to(dtype));
  save_safetensors(path, parts);
}

namespace {

/// A tensor of an encoded file, whose last axes must be `shape`.
Tensor encoded(const SafetensorsFile& file, const char* name, const std::vector<int64_t>& shape) {
  const auto t = file.view(name);
  const auto sizes = t.sizes();
  const bool fits = t.is_floating_point() && sizes.size() == shape.size() + 1 &&
                    std::equal(shape.begin(), shape.end(), sizes.begin() + 1,
                               [](int64_t wanted, int64_t found) { return wanted < 0 || wanted == found; });
  if (!fits) {
    std::ostringstream message;
    message << "[train] " << name << " in " << file.path() << ": expected (N";
    for (const auto side : shape) message << ", " << (side < 0 ? "any" : std::to_string(side));
    message << ") as this model has it, found " << sizes << "; encode the set again with this model";
    throw Failure(Code::BadFile, message.str(), {{"file", file.path()}, {"key", name}});
  }
  return t;
}

}  // namespace

void FrozenInputs::load_latents(const std::string& path, const std::vector<int64_t>& images) {
  const auto file = SafetensorsFile::open(path);
  const auto all = encoded(*file, "latents", {2, vae_.config.latent_channels, -1, -1});
  if (all.size(0) != static_cast<int64_t>(images.size()))
    throw Failure(Code::BadFile,
                  "[train] latents in " + path + ": expected " + std::to_string(images.size()) + " images, found " +
                      std::to_string(all.size(0)) + "; encode the set again",
                  {{"file", path}});
  for (size_t i = 0; i < images.size(); ++i)
    if (images[i] >= 0) latents_[images[i]] = all[static_cast<int64_t>(i)];
}

void FrozenInputs::load_prompts(const std::vector<std::string>& paths) {
  prompts_.clear();
  for (const auto& path : paths) {
    const auto file = SafetensorsFile::open(path);
    const auto& m = model_->info();
    prompts_.push_back({encoded(*file, "sequence", {-1, m.sequence_width}),
                        m.pooled_width > 0 ? encoded(*file, "pooled", {encoders_.pooled_width()}) : Tensor()});
  }
  encoders_.free();
}

std::pair<Tensor, Tensor> FrozenInputs::posterior_of(const TrainBatch& batch) const {
  const at::NoGradGuard no_grad;
  if (!batch.pixels.empty()) {
    const auto p = encode(batch);
    return {p.mean, p.standard_deviation()};
  }
  std::vector<Tensor> all;
  for (const auto id : batch.image_ids()) {
    const auto it = latents_.find(id);
    if (it == latents_.end())
      throw Failure(Code::BadRequest, "[train] image " + std::to_string(id) + ": its latents were never cached");
    all.push_back(it->second);
  }
  const auto both = at::stack(all).to(device_, at::kFloat);
  return {both.select(1, 0), both.select(1, 1)};
}

PromptEmbeds FrozenInputs::rows(const Tensor& rows) const {
  if (prompts_.empty()) throw Failure(Code::BadRequest, "[train] the prompts were never cached");
  const auto each_part = [](const auto& make) {
    return PromptEmbeds{make(&PromptEmbeds::sequence), make(&PromptEmbeds::pooled)};
  };
  if (prompts_.size() == 1 && prompts_[0].sequence.device() == device_)
    return each_part([&](Tensor PromptEmbeds::*part) {
      const auto& all = prompts_[0].*part;
      return all.defined() ? all.index_select(0, rows) : Tensor();
    });
  std::vector<PromptEmbeds> found;
  const auto on_host = rows.to(at::kCPU);
  for (int64_t i = 0; i < on_host.numel(); ++i) {
    auto row = on_host[i].item<int64_t>();
    auto some = prompts_.begin();
    for (; some != prompts_.end() && row >= some->sequence.size(0); ++some) row -= some->sequence.size(0);
    if (some == prompts_.end())
      throw Failure(Code::BadRequest, "[train] prompt " + std::to_string(on_host[i].item<int64_t>()) +
                                          ": it was never encoded; encode the set again");
    found.push_back(each_part(
        [&](Tensor PromptEmbeds::*part) { return ((*some).*part).defined() ? ((*some).*part)[row] : Tensor(); }));
  }
  return each_part([&](Tensor PromptEmbeds::*part) {
    std::vector<Tensor> all;
    for (const auto& one : found)
      if ((one.*part).defined()) all.push_back(one.*part);
    return all.empty() ? Tensor() : at::stack(all).to(device_);
  });
}

PromptEmbeds FrozenInputs::prompts_of(const TrainBatch& batch) const {
  if (batch.prompts.empty()) return rows(at::tensor(batch.texts, at::kLong).to(device_));
  if (!encoders_.loaded)
    throw Failure(Code::BadRequest, "[train] prompts to encode: the text encoders were given back after caching");
  const at::NoGradGuard no_grad;
  // In the encoders' own dtype, as when they are cached.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return encode_prompts(*model_, encoders_, batch.prompts, t5_length_, device_, Control());
}

Posterior FrozenInputs::encode(const TrainBatch& batch) const {
  const auto f = vae_.config.factor();
  if (batch.height % f || batch.width % f)
    throw Failure(Code::BadRequest, "[train] images of " + std::to_string(batch.width) + " x " +
                                        std::to_string(batch.height) + ": expected multiples of " + std::to_string(f) +
                                        "; set --size");
  // In full precision under autocast too, as the reference encodes.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto pixels = batch_pixels(batch);
  const auto at_once = std::max<int64_t>(1, kPixelsAtOnce / (batch.height * batch.width));
  std::vector<Tensor> moments;
  for (int64_t from = 0; from < pixels.size(0); from += at_once) {
    const auto some = pixels.narrow(0, from, std::min(at_once, pixels.size(0) - from));
    const auto x = image_from_bytes(some.to(device_).permute({0, 3, 1, 2}));
    moments.push_back(encode_moments(vae_, x).to(at::kFloat));
  }
  return posterior(moments.size() == 1 ? moments[0] : at::cat(moments, 0));
}

}  // namespace drm
