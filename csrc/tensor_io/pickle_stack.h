// The memory of the machine that pickles are written for: its stack with marks, what it is told to remember, and the
// values made so far, which refer to each other by their places, so that circles and deep nesting cost nothing.
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor_io/pickle.h"

namespace drm {

class PickleStack {
 public:
  using Items = std::vector<PickleRef>;
  using Kind = PickleValue::Kind;

  explicit PickleStack(const std::string& path) : path_(path) {}

  PickleValue& operator[](PickleRef ref) { return pickle_.values[ref]; }
  bool is(PickleRef ref, Kind kind) const { return pickle_.values[ref].kind == kind; }
  const char* kind_of(PickleRef ref) const { return pickle_kind_name(pickle_.values[ref].kind); }

  // Each throws Failure(BadFile) where there is no such value.
  PickleRef top() const;
  PickleRef pop();
  Items pop(size_t n);  // the last one last
  Items pop_to_mark();
  void recall(uint32_t place);  // pushes

  void push(PickleRef ref) { stack_.push_back(ref); }
  void push(PickleValue&& made);
  void push(const PickledStorage& storage);
  void push(PickledTensor&& tensor);
  void mark() { marks_.push_back(stack_.size()); }
  void remember(uint32_t place) { memo_[place] = top(); }
  size_t remembered() const { return memo_.size(); }

  const PickledStorage& storage_of(const PickleValue& stored) const;
  /// All that was made; its root is what is left on the stack.
  Pickle finish(size_t bytes);

  /// Bounds the work, and with it the memory: two million steps, an opcode or an item copied each.
  void count_steps(size_t steps);
  void expect(bool holds, const std::string& expected, const std::string& found) const {
    if (!holds) damaged(expected, found);
  }
  [[noreturn]] void damaged(const std::string& expected, const std::string& found) const;
  void move_to(size_t byte) { at_ = byte; }  // which messages name
  const std::string& path() const { return path_; }

 private:
  const std::string& path_;
  size_t at_ = 0, steps_ = 0;
  Pickle pickle_;
  Items stack_;
  std::vector<size_t> marks_;  // sizes of the stack
  std::unordered_map<uint32_t, PickleRef> memo_;
};

}  // namespace drm
