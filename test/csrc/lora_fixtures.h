// What the tests of adapters share: files of any tensors, a small model of the fixtures and what it says.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "check.h"
#include "lora/lora_file.h"
#include "models/sd3/sd3.h"
#include "temporary_folder.h"
#include "tensor_io/safetensors.h"

namespace drm::test::lora {

inline const std::string kGolden = DRM_GOLDEN;
inline const std::string kAdapter = kGolden + "/lora/pytorch_lora_weights.safetensors";

using Tensors = std::vector<std::pair<std::string, Tensor>>;

struct TemporaryFolder : test::TemporaryFolder {
  using test::TemporaryFolder::write;
  std::string write(const Tensors& tensors, const std::map<std::string, std::string>& metadata = {}) const {
    save_safetensors(file("lora.safetensors"), tensors, metadata);
    return file("lora.safetensors");
  }
};

inline Sd3 small() {
  const auto folder = kGolden + "/mmdit/";
  Sd3 m(make_mmdit(read_mmdit_config(folder + "config.json")));
  load_velocity_model(m, Weights::open({folder + "diffusion_pytorch_model.safetensors"}, velocity_keys), at::kFloat,
                      at::kCPU);
  return m;
}

inline Tensor run(const VelocityModel& m) {
  const auto io = SafetensorsFile::open(kGolden + "/lora/io.safetensors");
  const auto in = [&](const char* name) { return io->load(name); };
  const at::NoGradGuard no_grad;
  return m.velocity(in("latent"), in("timestep"), m.embed_text({in("context"), in("pooled")}));
}

inline double distance(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

/// An adapter of one layer by the given names of its tensors.
inline Tensors pair(const std::string& a, const std::string& b, int64_t in = 4, int64_t out = 4, int64_t rank = 2) {
  return {{a, at::arange(rank * in, at::kFloat).view({rank, in})},
          {b, at::arange(out * rank, at::kFloat).view({out, rank})}};
}

}  // namespace drm::test::lora
