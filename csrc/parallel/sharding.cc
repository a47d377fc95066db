#include "parallel/sharding.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <sstream>

namespace drm {
namespace {

using at::Tensor;

/// Of parameters sent together, and how many such transfers may be under way: together they bound the memory.
constexpr int64_t kPieceBytes = 25 << 20;
constexpr size_t kUnderWay = 4;

/// "name dtype size size ..." a line.
std::string describe(const NamedTensors& tensors) {
  std::ostringstream out;
  for (const auto& [name, t] : tensors) {
    out << name << ' ' << static_cast<int>(t.scalar_type());
    for (const auto n : t.sizes()) out << ' ' << n;
    out << '\n';
  }
  return out.str();
}

NamedTensors described(const std::string& text, at::Device device) {
  NamedTensors out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    int type = 0;
    words >> name >> type;
    std::vector<int64_t> sizes;
    for (int64_t n; words >> n;) sizes.push_back(n);
    out.emplace_back(name, at::empty(sizes, at::TensorOptions(static_cast<at::ScalarType>(type)).device(device)));
  }
  return out;
}

}  // namespace

Sharding::Sharding(NamedTensors parameters, Collectives& group)
    : parameters_(std::move(parameters)), group_(group), of_rank_(static_cast<size_t>(group.size())) {
  std::vector<size_t> by_size(parameters_.size());
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](size_t a, size_t b) { return parameters_[a].second.numel() > parameters_[b].second.numel(); });
  std::vector<int64_t> load(of_rank_.size(), 0);
  for (const auto n : by_size) {
    const auto least = static_cast<size_t>(std::min_element(load.begin(), load.end()) - load.begin());
    of_rank_[least].push_back(n);
    load[least] += parameters_[n].second.numel();
  }
  for (auto& members : of_rank_) std::sort(members.begin(), members.end());
  for (const auto n : of_rank_[static_cast<size_t>(group_.rank())]) own_.push_back(parameters_[n]);
}

void Sharding::share(const Control& control) {
  const at::NoGradGuard no_grad;
  struct Piece {
    Tensor flat;
    std::vector<size_t> members;
    bool mine;
    Pending sent;
  };
  std::deque<Piece> under_way;
  const auto land = [&] {
    auto& piece = under_way.front();
    piece.sent.wait(control);
    int64_t at = 0;
    for (const auto n : piece.members) {
      auto p = parameters_[n].second.detach();
      if (!piece.mine) p.copy_(piece.flat.narrow(0, at, p.numel()).view(p.sizes()));
      at += p.numel();
    }
    under_way.pop_front();
  };
  for (int64_t from = 0; from < group_.size(); ++from) {
    const auto& all = of_rank_[static_cast<size_t>(from)];
    for (size_t i = 0; i < all.size();) {
      Piece piece{{}, {}, from == group_.rank(), {}};
      const auto type = parameters_[all[i]].second.scalar_type();
      int64_t length = 0;
      std::vector<Tensor> parts;
      for (; i < all.size(); ++i) {
        const auto p = parameters_[all[i]].second.detach();
        const auto bytes = (length + p.numel()) * static_cast<int64_t>(p.element_size());
        if (!piece.members.empty() && (p.scalar_type() != type || bytes > kPieceBytes)) break;
        piece.members.push_back(all[i]);
        parts.push_back(p.reshape({-1}));
        length += p.numel();
      }
      piece.flat = piece.mine ? at::cat(parts) : at::empty({length}, parts.front().options());
      piece.sent = group_.broadcast(piece.flat, from);
      under_way.push_back(std::move(piece));
      if (under_way.size() == kUnderWay) land();
    }
  }
  while (!under_way.empty()) land();
}

NamedTensors Sharding::gather(const NamedTensors& own, const Control& control) {
  const at::NoGradGuard no_grad;
  const auto texts = group_.exchange(describe(own), control);
  const auto device = parameters_.front().second.device();
  NamedTensors all;
  for (int64_t from = 0; from < group_.size(); ++from) {
    const bool mine = from == group_.rank();
    auto tensors = mine ? own : described(texts[static_cast<size_t>(from)], device);
    for (auto& [name, tensor] : tensors) {
      const auto sent = mine ? tensor.contiguous() : tensor;
      group_.broadcast(sent, from).wait(control);
      if (group_.rank() == 0) all.emplace_back(name, sent.to(at::kCPU));
      tensor = Tensor();
    }
  }
  return all;
}

std::map<std::string, Tensor> from_first(std::map<std::string, Tensor> tensors, Collectives& group, at::Device device,
                                         const Control& control,
                                         const std::function<bool(const std::string&)>& wanted) {
  const at::NoGradGuard no_grad;
  NamedTensors mine(tensors.begin(), tensors.end());
  const auto texts = group.exchange(group.rank() == 0 ? describe(mine) : "", control);
  if (group.rank() != 0) mine = described(texts.front(), device);
  std::map<std::string, Tensor> out;
  for (auto& [name, tensor] : mine) {
    const auto sent = tensor.to(device).contiguous();
    group.broadcast(sent, 0).wait(control);
    if (wanted(name)) out[name] = group.rank() == 0 ? tensor : sent.to(at::kCPU);
    tensor = Tensor();
  }
  return out;
}

}  // namespace drm
