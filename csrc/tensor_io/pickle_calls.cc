#include "tensor_io/pickle_calls.h"

#include <algorithm>

namespace drm {
namespace {

using Kind = PickleValue::Kind;
using Items = PickleStack::Items;

constexpr size_t kMostSides = 64;  // of a tensor that libtorch computes with

uint64_t whole(PickleStack& stack, PickleRef ref, const char* what) {
  const auto& found = stack[ref];
  stack.expect(found.kind == Kind::Int, what, pickle_kind_name(found.kind));
  stack.expect(found.number >= 0, what, std::to_string(found.number));
  return static_cast<uint64_t>(found.number);
}

std::vector<int64_t> sides(PickleStack& stack, PickleRef ref, const char* what) {
  const auto& items = stack[ref].items;
  stack.expect(stack.is(ref, Kind::Tuple), what, stack.kind_of(ref));
  stack.expect(items.size() <= kMostSides, what, std::to_string(items.size()) + " numbers");
  stack.count_steps(items.size());
  std::vector<int64_t> numbers;
  for (const auto item : items) numbers.push_back(static_cast<int64_t>(whole(stack, item, what)));
  return numbers;
}

/// OrderedDict() or, by Python 2, OrderedDict([[key, value], ...]).
void push_ordered_dict(PickleStack& stack, const Items& arguments) {
  Items pairs;
  if (!arguments.empty()) {
    stack.expect(arguments.size() == 1 && stack.is(arguments[0], Kind::List), "a list of keys with values",
                 "other arguments");
    const auto& list = stack[arguments[0]].items;
    stack.count_steps(list.size());  // a list that is remembered may be passed many times
    for (const auto ref : list) {
      const auto& pair = stack[ref];
      stack.expect((pair.kind == Kind::List || pair.kind == Kind::Tuple) && pair.items.size() == 2,
                   "a key with its value", pickle_kind_name(pair.kind));
      pairs.insert(pairs.end(), pair.items.begin(), pair.items.end());
    }
  }
  stack.push({Kind::Dict, 0, {}, std::move(pairs)});
}

/// It may hold bits that say "negated" or "conjugated": the numbers in the file would be others than the tensor's.
void expect_no_metadata(PickleStack& stack, PickleRef metadata) {
  const auto& found = stack[metadata];
  if (found.kind != Kind::None && !(found.kind == Kind::Dict && found.items.empty()))
    refuse_pickle(stack.path(), "a tensor with metadata (a negated or conjugated view)");
}

void push_tensor(PickleStack& stack, const Items& arguments, const PickledDtype* dtype) {
  stack.expect(stack.is(arguments[0], Kind::Stored), "a tensor's storage", stack.kind_of(arguments[0]));
  const auto& storage = stack.storage_of(stack[arguments[0]]);
  if (!dtype) dtype = storage.dtype;
  stack.expect(dtype, "a tensor's dtype", "an untyped storage");
  PickledTensor tensor{storage, dtype, whole(stack, arguments[1], "a tensor's offset"),
                       sides(stack, arguments[2], "a tensor's shape"),
                       sides(stack, arguments[3], "a tensor's strides")};
  stack.expect(tensor.shape.size() == tensor.strides.size(), "a stride for each side", "another number of strides");
  stack.push(std::move(tensor));
}

}  // namespace

void call_pickled(PickleStack& stack, PickleRef function, PickleRef arguments) {
  stack.expect(stack.is(function, Kind::Function), "a function", stack.kind_of(function));
  stack.expect(stack.is(arguments, Kind::Tuple), "a tuple of arguments", stack.kind_of(arguments));
  const auto& items = stack[arguments].items;  // not to be used after a push
  const auto n = items.size();
  const auto expect_arguments = [&](bool hold, const char* name) {
    stack.expect(hold, std::string("the arguments of ") + name, std::to_string(n) + " others");
  };
  const auto push_parameter = [&](size_t least, size_t most, const char* name) {
    expect_arguments(n >= least && n <= most && stack.is(items[0], Kind::Tensor), name);
    stack.push(items[0]);
  };
  switch (static_cast<PickleFunction>(stack[function].number)) {
    case PickleFunction::OrderedDict:
      return push_ordered_dict(stack, items);
    case PickleFunction::RebuildTensor:
      expect_arguments(n == 4, "_rebuild_tensor");
      return push_tensor(stack, items, nullptr);
    case PickleFunction::RebuildTensorV2:
      expect_arguments(n == 6 || n == 7, "_rebuild_tensor_v2");
      if (n == 7) expect_no_metadata(stack, items[6]);
      return push_tensor(stack, items, nullptr);
    case PickleFunction::RebuildTensorV3:
      expect_arguments((n == 7 || n == 8) && stack.is(items[6], Kind::Dtype), "_rebuild_tensor_v3");
      if (n == 8) expect_no_metadata(stack, items[7]);
      return push_tensor(stack, items, pickled_dtype(stack[items[6]]));
    case PickleFunction::RebuildParameter:
      return push_parameter(3, 3, "_rebuild_parameter");
    case PickleFunction::RebuildParameterWithState:
      return push_parameter(4, 4, "_rebuild_parameter_with_state");
    case PickleFunction::Parameter:
      return push_parameter(1, 2, "Parameter");
    case PickleFunction::Inert:
      return stack.push({Kind::Other});
  }
}

void push_storage(PickleStack& stack, PickleRef id) {
  const auto& items = stack[id].items;
  const auto n = items.size();
  stack.expect(stack.is(id, Kind::Tuple) && (n == 5 || n == 6) && stack.is(items[0], Kind::Text) &&
                   stack[items[0]].text == "storage" && stack.is(items[1], Kind::Storage) &&
                   stack.is(items[2], Kind::Text),
               "a storage", stack.kind_of(id));
  const auto count = whole(stack, items[4], "the size of a storage");
  PickledStorage storage{stack[items[2]].text, pickled_dtype(stack[items[1]]), count, 0, count};
  if (n == 6 && !stack.is(items[5], Kind::None)) {
    const auto& part = stack[items[5]].items;
    stack.expect(stack.is(items[5], Kind::Tuple) && part.size() == 3, "a part of a storage", stack.kind_of(items[5]));
    storage.first = whole(stack, part[1], "the begin of a part of a storage");
    storage.size = whole(stack, part[2], "the size of a part of a storage");
    stack.expect(storage.first <= count && storage.size <= count - storage.first, "a part inside its storage",
                 "one that reaches out");
  }
  stack.push(storage);
}

void set_pickled_state(PickleStack& stack, PickleRef object, PickleRef state) {
  if (stack.is(object, Kind::Other) || (stack.is(object, Kind::Dict) && stack.is(state, Kind::Dict))) return;
  const auto& items = stack[state].items;
  const bool flags =
      stack.is(state, Kind::Tuple) && items.size() == 3 && std::all_of(items.begin(), items.end(), [&](PickleRef item) {
        return stack.is(item, Kind::None) || stack.is(item, Kind::Bool) || stack.is(item, Kind::Dict);
      });  // requires_grad, volatile and hooks, as PyTorch before 0.4 wrote them
  stack.expect(stack.is(object, Kind::Tensor) && flags, "an object whose state is plain",
               std::string(stack.kind_of(object)) + " whose state is " + stack.kind_of(state));
}

}  // namespace drm
