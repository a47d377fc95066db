#include "tensor_io/pickle_stack.h"

#include "common/failure.h"

namespace drm {
namespace {

constexpr size_t kMostSteps = 2'000'000;  // a checkpoint takes some fifty for a tensor

}  // namespace

void PickleStack::damaged(const std::string& expected, const std::string& found) const {
  throw Failure(Code::BadFile,
                "[load] " + path_ + ": expected " + expected + " at byte " + std::to_string(at_) +
                    " of its pickle, found " + found + "; the file is damaged, fetch it again",
                {{"file", path_}});
}

void PickleStack::count_steps(size_t steps) {
  steps_ += steps;
  if (steps_ > kMostSteps)
    throw Failure(Code::BadFile,
                  "[load] " + path_ + ": expected weights, found a pickle of more than " + std::to_string(kMostSteps) +
                      " opcodes; save its tensors alone with torch.save",
                  {{"file", path_}});
}

PickleRef PickleStack::top() const {
  expect(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "a value on the stack", "none");
  return stack_.back();
}

PickleRef PickleStack::pop() {
  const auto ref = top();
  stack_.pop_back();
  return ref;
}

PickleStack::Items PickleStack::pop(size_t n) {
  Items items(n);
  for (auto i = n; i-- > 0;) items[i] = pop();
  return items;
}

PickleStack::Items PickleStack::pop_to_mark() {
  expect(!marks_.empty(), "a mark on the stack", "none");
  const auto begin = marks_.back();
  Items items(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
  stack_.resize(begin);
  marks_.pop_back();
  return items;
}

void PickleStack::recall(uint32_t place) {
  const auto it = memo_.find(place);
  if (it == memo_.end()) damaged("a value remembered as " + std::to_string(place), "none");
  push(it->second);
}

void PickleStack::push(PickleValue&& made) {
  push(static_cast<PickleRef>(pickle_.values.size()));
  pickle_.values.push_back(std::move(made));
}

void PickleStack::push(const PickledStorage& storage) {
  push({Kind::Stored, static_cast<int64_t>(pickle_.storages.size())});
  pickle_.storages.push_back(storage);
}

void PickleStack::push(PickledTensor&& tensor) {
  push({Kind::Tensor, static_cast<int64_t>(pickle_.tensors.size())});
  pickle_.tensors.push_back(std::move(tensor));
}

const PickledStorage& PickleStack::storage_of(const PickleValue& stored) const {
  return pickle_.storages[static_cast<size_t>(stored.number)];
}

Pickle PickleStack::finish(size_t bytes) {
  pickle_.root = pop();
  expect(stack_.empty() && marks_.empty(), "one value", "several");
  pickle_.bytes = bytes;
  return std::move(pickle_);
}

}  // namespace drm
