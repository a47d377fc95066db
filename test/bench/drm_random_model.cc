// Fills a diffusers folder that holds only configs, or a reward model's, with random weights, so that speed can be
// measured at any size.
//   drm_random_model FOLDER [bf16]
// Matrices are normal with standard deviation 1 / sqrt(fan-in), so that activations stay finite; norms are one, biases zero.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "models/sd3/sd3.h"
#include "reward/reward_net.h"
#include "tensor_io/safetensors.h"
#include "text/clip.h"
#include "text/t5.h"
#include "vae/autoencoder.h"

using namespace drm;

namespace {

at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);

template <class Model>
void write(Model model, const std::string& path, at::ScalarType dtype) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  each_tensor(model, [&](const std::string& name, Tensor& t) {
    const auto shape = t.sizes().vec();
    if (t.device().is_meta()) {  // buffers come filled
      const bool matrix = shape.size() > 1;
      const auto fan_in = matrix ? static_cast<double>(t.numel()) / static_cast<double>(shape[0]) : 1.0;
      t = matrix                              ? at::randn(shape, generator) / std::sqrt(fan_in)
          : name.ends_with(".bias")           ? at::zeros(shape)
                                              : at::ones(shape);
    }
    tensors.emplace_back(name, t.to(dtype));
  });
  save_safetensors(path, tensors, {{"format", "pt"}});
}

void fill_positions(Sd3& m) { m.network().positions.value = position_table(m.network().config); }

int run(const std::string& folder, at::ScalarType dtype) {
  if (const auto own = folder + "/config.json"; std::filesystem::exists(own)) {
    auto net = make_reward_net(read_reward_config(own));
    fill_positions(dynamic_cast<Sd3&>(*net.backbone));
    std::printf("{\"reward_parameters\":%lld}\n", static_cast<long long>(size_of(net).parameters));
    write(std::move(net), folder + "/model.safetensors", dtype);
    return 0;
  }
  const auto config = [&](const char* part) { return folder + "/" + part + "/config.json"; };
  Sd3 m(make_mmdit(read_mmdit_config(config("transformer"))));
  fill_positions(m);
  std::printf("{\"transformer_parameters\":%lld}\n", static_cast<long long>(size_of(m).parameters));
  write(std::move(m), folder + "/transformer/diffusion_pytorch_model.safetensors", dtype);
  write(make_vae(read_vae_config(config("vae"))), folder + "/vae/diffusion_pytorch_model.safetensors", dtype);
  for (const char* part : {"text_encoder", "text_encoder_2"})
    write(make_clip(read_clip_config(config(part))), folder + "/" + part + "/model.safetensors", dtype);
  if (std::filesystem::exists(config("text_encoder_3")))
    write(make_t5(read_t5_config(config("text_encoder_3"))), folder + "/text_encoder_3/model.safetensors", dtype);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: drm_random_model FOLDER [bf16]\n");
    return 2;
  }
  try {
    return run(argv[1], argc > 2 && std::string(argv[2]) == "bf16" ? at::kBFloat16 : at::kFloat);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
