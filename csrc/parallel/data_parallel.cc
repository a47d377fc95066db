#include "parallel/data_parallel.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <sstream>

namespace drm {

using at::Tensor;

DataParallel::DataParallel(std::shared_ptr<Collectives> group, const NamedTensors& parameters, bool zero,
                           const Control& control)
    : group_(std::move(group)),
      parameters_(parameters),
      buckets_(parameters_, *group_),
      shards_(zero ? std::make_unique<Sharding>(parameters_, *group_) : nullptr) {
  // Equal seeds and files give equal weights; that the files are equal on all machines is more than one can be sure of.
  const at::NoGradGuard no_grad;
  for (const auto& [name, p] : parameters_) {
    auto whole = p.detach().contiguous();
    group_->broadcast(whole, 0).wait(control);
    p.detach().copy_(whole);
  }
}

std::function<int64_t()> DataParallel::count(int64_t samples, const Control& control) {
  const auto sum = at::full({1}, samples, at::kLong);
  auto pending = group_->all_reduce(sum);
  return [sum, pending, &control] {
    pending.wait(control);
    return sum.item<int64_t>();  // in main memory
  };
}

Metrics DataParallel::pooled(const Metrics& mine, const Control& control) {
  std::ostringstream said;
  said << std::hexfloat;
  for (const auto& [name, value, weight] : mine) said << name << ' ' << value << ' ' << weight << '\n';
  Metrics all;
  for (const auto& text : group_->exchange(said.str(), control)) {
    std::istringstream lines(text);
    for (std::string name, value, weight; lines >> name >> value >> weight;) {
      const auto w = std::stod(weight), part = std::stod(value) * w;
      const auto found = std::find_if(all.begin(), all.end(), [&](const auto& m) { return m.name == name; });
      if (found == all.end()) {
        all.push_back({name, part, w});
      } else {
        found->value += part;
        found->weight += w;
      }
    }
  }
  for (auto& m : all) m.value /= m.weight;
  return all;
}

void DataParallel::stepped_all(const Control& control) {
  if (shards_) shards_->share(control);
}

NamedTensors DataParallel::optimizer_state(const NamedTensors& own, const Control& control) {
  return shards_ ? shards_->gather(own, control) : own;
}

std::map<std::string, Tensor> DataParallel::from_first(std::map<std::string, Tensor> tensors, const Control& control,
                                                       const std::function<bool(const std::string&)>& wanted) {
  return drm::from_first(std::move(tensors), *group_, parameters_.front().second.device(), control, wanted);
}

}  // namespace drm
