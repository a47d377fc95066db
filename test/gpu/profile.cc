#include "profile.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <map>

namespace drm {

using torch::profiler::impl::ActivityType;

std::vector<ProfiledKernel> profile(at::Device device, const std::function<void()>& work) {
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  const std::set<ActivityType> activities =
      device.is_cuda() ? std::set{ActivityType::CPU, ActivityType::CUDA} : std::set{ActivityType::CPU};
  torch::autograd::profiler::prepareProfiler(config, activities);
  torch::autograd::profiler::enableProfiler(config, activities, {at::RecordScope::FUNCTION});
  work();
  const auto result = torch::autograd::profiler::disableProfiler();
  std::map<std::string, ProfiledKernel> by_name;
  for (const auto& event : result->events()) {
    if (event.deviceType() != device.type()) continue;
    auto& kernel = by_name[event.name()];
    kernel.name = event.name().substr(0, 120);
    ++kernel.calls;
    kernel.seconds += static_cast<double>(event.durationNs()) * 1e-9;
  }
  std::vector<ProfiledKernel> all;
  for (auto& [name, kernel] : by_name) all.push_back(std::move(kernel));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return all;
}

}  // namespace drm
