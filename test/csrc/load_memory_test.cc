// The promise about memory: while loading, never more than the weights and a tenth.
#include <ATen/ATen.h>
#include <malloc.h>

#include <filesystem>
#include <fstream>

#include "check.h"
#include "models/registry.h"
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

/// Peak growth in KiB of loading a file of `tensors` x 8 MiB (fp32) as `dtype`.
int64_t peak_growth(at::ScalarType dtype, int64_t tensors) {
  const auto path = (fs::temp_directory_path() / ("drm-load-" + std::to_string(::getpid()) + ".safetensors")).string();
  {
    std::vector<std::pair<std::string, at::Tensor>> all;
    for (int64_t i = 0; i < tensors; ++i) all.emplace_back(name(i), at::full({1024, 2048}, static_cast<double>(i)));
    save_safetensors(path, all);
  }
  // The Transformer component takes diffusers keys as they are.
  const auto weights = Weights::open({path}, velocity_keys);
  std::vector<at::Tensor> loaded(tensors);
  std::vector<WantedTensor> wanted;
  for (int64_t i = 0; i < tensors; ++i) wanted.push_back({name(i), {1024, 2048}, &loaded[i]});
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts again from here
  const auto before = status_kib("VmRSS");
  weights.fill(wanted, dtype, at::kCPU);
  const auto growth = status_kib("VmHWM") - before;
  fs::remove(path);
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

DRM_TEST_MAIN
