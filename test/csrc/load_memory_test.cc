// The promises about memory: while loading, never more than the weights and a tenth; of weights that stay in their
// file, next to nothing.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <malloc.h>

#include <filesystem>
#include <fstream>

#include "check.h"
#include "models/registry.h"
#include "nn/layers.h"
#include "tensor_io/weights.h"

using namespace drm;
namespace fs = std::filesystem;

namespace {

int64_t status_kib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(field + ":", 0) == 0) return std::stoll(line.substr(field.size() + 1));
  return -1;
}

std::string name(int64_t i) {
  std::string n("t");
  return n.append(std::to_string(i)).append(".weight");
}

/// A file of `tensors` x (1024, 2048) numbers, where tensor i is i everywhere, removed at the end.
struct WeightFile {
  std::string path = (fs::temp_directory_path() / ("drm-load-" + std::to_string(::getpid()) + ".safetensors")).string();
  WeightFile(at::ScalarType dtype, int64_t tensors) {
    std::vector<std::pair<std::string, at::Tensor>> all;
    for (int64_t i = 0; i < tensors; ++i)
      all.emplace_back(name(i), at::full({1024, 2048}, static_cast<double>(i), at::TensorOptions().dtype(dtype)));
    save_safetensors(path, all);
  }
  ~WeightFile() { fs::remove(path); }
  WeightFile(const WeightFile&) = delete;
};

/// Peak growth in KiB of loading a file of `tensors` x 8 MiB (fp32) as `dtype`.
int64_t peak_growth(at::ScalarType dtype, int64_t tensors) {
  const WeightFile file(at::kFloat, tensors);
  // The Transformer component takes diffusers keys as they are.
  const auto weights = Weights::open({file.path}, velocity_keys);
  std::vector<at::Tensor> loaded(tensors);
  std::vector<WantedTensor> wanted;
  for (int64_t i = 0; i < tensors; ++i) wanted.push_back({name(i), {1024, 2048}, &loaded[i]});
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts again from here
  const auto before = status_kib("VmRSS");
  weights.fill(wanted, dtype, at::kCPU);
  const auto growth = status_kib("VmHWM") - before;
  for (int64_t i = 0; i < tensors; ++i) CHECK_EQ(loaded[i].to(at::kFloat)[3][5].item<float>(), static_cast<float>(i));
  return growth;
}

}  // namespace

TEST(loading_needs_the_weights_and_at_most_a_tenth) {
  if (status_kib("VmHWM") < 0)
    test::fail(__FILE__, __LINE__, "this test reads Linux's /proc/self/status, which is missing");
  // Else the allocator keeps what the first measurement freed, and the second seems to need nothing.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  const int64_t tensors = 32, weights = tensors * 8 * 1024;
  const auto same = peak_growth(at::kFloat, tensors), half = peak_growth(at::kBFloat16, tensors);
  std::printf("peak growth: fp32 %.3f of the weights, fp32 file to bf16 %.3f\n", static_cast<double>(same) / weights,
              static_cast<double>(half) / (weights / 2));
  CHECK(same <= weights * 11 / 10);
  CHECK(half <= weights / 2 * 11 / 10);
  CHECK(same >= weights * 9 / 10);  // else the measure itself is broken
  CHECK(half >= weights / 2 * 9 / 10);
}

TEST(weights_that_stay_in_the_file_take_no_memory_of_their_own_and_are_widened_in_parts) {
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  const int64_t tensors = 32;
  const WeightFile file(at::kBFloat16, tensors);
  const auto weights = Weights::open({file.path}, velocity_keys);
  std::vector<Linear> layers(tensors);
  std::vector<WantedTensor> wanted;
  for (int64_t i = 0; i < tensors; ++i)
    wanted.push_back({name(i), {1024, 2048}, &layers[static_cast<size_t>(i)].weight, {}, {}, /*in_place=*/true});
  uint64_t seen = 0, total = 0;
  // What the process holds of its own: pages of files that are mapped count to nobody.
  const auto before = status_kib("RssAnon");
  weights.fill(wanted, at::kFloat, at::kCPU, {}, "", [&](uint64_t done, uint64_t all) { seen = done, total = all; });
  CHECK_EQ(seen, total);
  CHECK_EQ(total, static_cast<uint64_t>(tensors) * 1024 * 2048 * 2);
  const auto x = at::ones({3, 2048});
  for (int64_t i = 0; i < tensors; ++i) {
    const auto& l = layers[static_cast<size_t>(i)];
    CHECK(l.weight.scalar_type() == at::kBFloat16);
    const auto y = linear(l, x);
    CHECK(y.scalar_type() == at::kFloat);
    CHECK_EQ(y[2][1023].item<float>(), static_cast<float>(2048 * i));
  }
  const auto growth = status_kib("RssAnon") - before;
  std::printf("growth of weights in place: %lld KiB of %lld\n", static_cast<long long>(growth),
              static_cast<long long>(tensors * 4 * 1024));
  CHECK(growth < 16 * 1024);  // the file has 128 MiB; a layer is 8 MiB when wide
}

TEST(a_layer_wider_than_a_block_is_exact) {
  // 20 Mi numbers: two blocks of rows, the second shorter, with and without bias.
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(3);
  Linear l{(at::randn({2560, 8192}, generator) / 64).to(at::kBFloat16), at::randn({2560}, generator), {}};
  const auto x = at::randn({2, 3, 8192}, generator);
  const auto close = [&](const at::Tensor& bias) {
    l.bias = bias;
    const auto want = at::linear(x, l.weight.to(at::kFloat), bias), got = linear(l, x);
    CHECK(got.sizes() == want.sizes());
    CHECK((got - want).abs().max().item<double>() < 1e-4);
  };
  close(l.bias);
  close({});
}

DRM_TEST_MAIN
