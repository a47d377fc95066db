// What the few functions that plain tensors need would return, had Python called them.
#pragma once
#include "tensor_io/pickle_names.h"
#include "tensor_io/pickle_stack.h"

namespace drm {

// Each pushes what it makes and throws Failure(BadFile) for other arguments than PyTorch's.

/// `function` and `arguments` are those that REDUCE or NEWOBJ found on the stack.
void call_pickled(PickleStack& stack, PickleRef function, PickleRef arguments);

/// The storage that a persistent id stands for: ("storage", class, key, device, count), and None or, where it is a part
/// of another, (key of the part, first, size).
void push_storage(PickleStack& stack, PickleRef id);

/// BUILD: the state set on an object that is there. Attributes of a dict (the versions of its modules) and of plain
/// objects are passed over; a tensor's may hold no data.
void set_pickled_state(PickleStack& stack, PickleRef object, PickleRef state);

}  // namespace drm
