#include "parallel/gradient_buckets.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace drm {
namespace {

using at::Tensor;

struct Hook final : torch::autograd::PostAccumulateGradHook {
  explicit Hook(std::function<void()> f) : call(std::move(f)) {}
  void operator()(const Tensor&) override { call(); }
  std::function<void()> call;
};

}  // namespace

GradientBuckets::GradientBuckets(NamedTensors parameters, Collectives& group, int64_t bucket_bytes)
    : parameters_(std::move(parameters)), group_(group), bucket_of_(parameters_.size()), slots_(parameters_.size()) {
  // The backward pass comes to the last parameters first.
  std::vector<int64_t> lengths;
  for (size_t n = parameters_.size(); n-- > 0;) {
    const auto& p = parameters_[n].second;
    const auto fits = [&] {
      return !buckets_.empty() &&
             parameters_[buckets_.back().members.front()].second.scalar_type() == p.scalar_type() &&
             (lengths.back() + p.numel()) * static_cast<int64_t>(p.element_size()) <= bucket_bytes;
    };
    if (!fits()) {
      buckets_.emplace_back();
      lengths.push_back(0);
    }
    bucket_of_[n] = buckets_.size() - 1;
    buckets_.back().members.push_back(n);
    lengths.back() += p.numel();
  }
  for (size_t b = 0; b < buckets_.size(); ++b) {
    auto& bucket = buckets_[b];
    const auto& options = parameters_[bucket.members.front()].second.options().requires_grad(false);
    const bool last = b + 1 == buckets_.size();
    const auto flags = last ? static_cast<int64_t>(parameters_.size()) : 0;
    bucket.flat = at::zeros({lengths[b] + flags}, options);
    int64_t at = 0;
    for (const auto n : bucket.members) {
      const auto& p = parameters_[n].second;
      slots_[n] = p.is_non_overlapping_and_dense() ? bucket.flat.as_strided(p.sizes(), p.strides(), at)
                                                   : bucket.flat.narrow(0, at, p.numel()).view(p.sizes());
      at += p.numel();
    }
    if (last) present_ = bucket.flat.narrow(0, at, flags);
  }
  for (size_t n = 0; n < parameters_.size(); ++n)
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[n].second,
                                                   std::make_unique<Hook>([this, n] { came(n); }));
}

GradientBuckets::~GradientBuckets() {
  for (const auto& [name, p] : parameters_) torch::autograd::impl::set_post_acc_grad_hooks(p, nullptr);
}

void GradientBuckets::arm() {
  const std::lock_guard lock(mutex_);
  here_.assign(parameters_.size(), false);
  for (auto& bucket : buckets_) bucket.missing = bucket.members.size();
  next_ = 0;
  armed_ = true;
}

void GradientBuckets::came(size_t parameter) {
  const std::lock_guard lock(mutex_);
  if (!armed_) return;
  auto& bucket = buckets_[bucket_of_[parameter]];
  if (here_[parameter]) {
    // A parameter used in two recomputed parts gets its gradient in two pieces; the sum may be on its way already.
    if (bucket_of_[parameter] < next_)
      throw Failure(Code::Internal, "[parallel] " + parameters_[parameter].first +
                                        ": a part of its gradient came after the gradient was sent; is it used by two "
                                        "recomputed parts?");
    return;  // accumulated in the slot
  }
  const at::NoGradGuard no_grad;
  const auto& p = parameters_[parameter].second;
  slots_[parameter].copy_(p.grad());
  p.mutable_grad() = slots_[parameter];
  here_[parameter] = true;
  --bucket.missing;
  send_full();
}

void GradientBuckets::send_full() {
  for (; next_ < buckets_.size() && buckets_[next_].missing == 0; ++next_) send(buckets_[next_]);
}

void GradientBuckets::send(Bucket& bucket) {
  // By the time the last bucket goes, all gradients have come or are known to be missing.
  if (&bucket == &buckets_.back()) {
    auto flags = at::empty({static_cast<int64_t>(here_.size())}, at::kFloat);
    for (size_t n = 0; n < here_.size(); ++n) flags.data_ptr<float>()[n] = here_[n] ? 1.F : 0.F;
    present_.copy_(flags);
  }
  bucket.sum = group_.all_reduce(bucket.flat);
}

void GradientBuckets::finish(const Control& control) {
  if (!armed_) arm();  // no samples here: nothing came
  armed_ = false;
  sent_early_ = next_;
  const at::NoGradGuard no_grad;
  bool all_here = true;
  for (size_t n = 0; n < parameters_.size(); ++n) {
    if (here_[n]) continue;
    auto& p = parameters_[n].second;
    if (p.grad().defined()) {  // of an earlier pass of this step
      slots_[n].copy_(p.grad());
      p.mutable_grad() = slots_[n];
      here_[n] = true;
    } else {
      slots_[n].zero_();
      all_here = false;
    }
    --buckets_[bucket_of_[n]].missing;
  }
  send_full();
  for (auto& bucket : buckets_) bucket.sum.wait(control);
  if (all_here) return;
  // A wait for the device, where some parameter had no part in this process's loss.
  const auto present = present_.to(at::kCPU, at::kFloat);
  for (size_t n = 0; n < parameters_.size(); ++n)
    if (!here_[n] && present.const_data_ptr<float>()[n] > 0) parameters_[n].second.mutable_grad() = slots_[n];
}

}  // namespace drm
