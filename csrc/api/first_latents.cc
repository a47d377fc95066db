#include "api/first_latents.h"

#include <ATen/ATen.h>

#include "common/messages.h"
#include "flow/sampler.h"
#include "tensor_io/safetensors.h"

namespace drm {

FirstLatents::FirstLatents(const SampleRequest& r, std::vector<int64_t> shape, at::ScalarType dtype, int64_t vae_factor)
    : request_(r), shape_(std::move(shape)), dtype_(dtype) {
  if (r.init_latents.empty()) return;
  const auto file = SafetensorsFile::open(r.init_latents);
  const auto it = file->tensors().find(r.init_tensor);
  if (it == file->tensors().end()) {
    std::string names;
    for (const auto& t : file->tensors()) names += (names.empty() ? "" : ", ") + t.first;
    throw Failure(Code::BadFile,
                  "[sample] " + r.init_latents + ": expected a tensor named " + r.init_tensor + ", found " +
                      (names.size() > 200 ? names.substr(0, 200) + " ..." : names) +
                      "; write --init-latents FILE:TENSOR",
                  {{"file", r.init_latents}});
  }
  const auto factor = std::to_string(vae_factor);
  if (it->second.shape != shape_ || !at::isFloatingType(it->second.dtype))
    throw Failure(Code::BadShape,
                  "[sample] " + r.init_tensor + " in " + r.init_latents + ": expected floating-point latents " +
                      shape_text(shape_) + " (images, channels, height / " + factor + ", width / " + factor +
                      "), found " + shape_text(it->second.shape) + "; set --n, --height and --width to match",
                  {{"file", r.init_latents},
                   {"key", r.init_tensor},
                   {"expected", shape_text(shape_)},
                   {"found", shape_text(it->second.shape)}});
  given_ = file->load(r.init_tensor, at::kFloat, at::kCPU);
}

Tensor FirstLatents::rows(int64_t begin, int64_t n) const {
  if (given_.defined()) return given_.narrow(0, begin, n);
  std::vector<Tensor> all;
  for (auto i = begin; i < begin + n; ++i)
    all.push_back(
        initial_latents(request_.images[static_cast<size_t>(i)].seed, shape_[1], shape_[2], shape_[3], dtype_));
  return at::cat(all, 0);
}

}  // namespace drm
