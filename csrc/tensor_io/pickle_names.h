// What plain tensors need of Python's names, and what is said of all others.
#pragma once
#include <string>
#include <string_view>

#include "tensor_io/pickle.h"

namespace drm {

enum class PickleFunction : int64_t {
  OrderedDict,
  RebuildTensor,              // storage, offset, shape, strides: PyTorch before 0.4
  RebuildTensorV2,            // and requires_grad, hooks, metadata
  RebuildTensorV3,            // bytes, offset, shape, strides, requires_grad, hooks, dtype, metadata
  RebuildParameter,           // tensor, requires_grad, hooks
  RebuildParameterWithState,  // and the parameter's attributes
  Parameter,                  // tensor, requires_grad: PyTorch before 1.0
  Inert,                      // makes a plain object without tensors
};

/// What a pickle's global is here. Throws Failure(BadFile) that names one that is refused, with how to convert the
/// file.
PickleValue known_global(std::string_view module, std::string_view name, const std::string& path);

/// The dtype at Kind::Dtype's or Kind::Storage's number; none for UntypedStorage.
const PickledDtype* pickled_dtype(const PickleValue& value);

/// Throws Failure(BadFile): `found` is no part of plain tensors ("the class mps.CLIPModel").
[[noreturn]] void refuse_pickle(const std::string& path, const std::string& found);

}  // namespace drm
