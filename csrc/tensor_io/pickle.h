// What a pickle says, without running it. Python's pickles are programs for a stack machine that may import and call
// anything; here the machine knows containers, numbers, texts and the few functions by which PyTorch rebuilds plain
// tensors, and refuses every other opcode and name. Nothing is called, nothing nested is walked, and tensors stay
// descriptions: where their storage is, is for the file's reader to say. Opcodes: Python's Lib/pickletools.py.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace drm {

/// One of PyTorch's dtypes.
struct PickledDtype {
  const char* name;     // of the dtype in Python
  const char* storage;  // the class of its storages; none for newer dtypes, whose storages are bytes
  at::ScalarType type;  // Undefined: none that tensors here are computed with
  const char* label;    // in messages, as safetensors spells it
  uint64_t bytes;       // of one element
};

/// The storage of tensors as a pickle describes it: `count` elements under a key, and which of them are meant.
struct PickledStorage {
  std::string_view key;
  const PickledDtype* dtype;  // none: bytes of no type (UntypedStorage), counted one by one
  uint64_t count;
  uint64_t first, size;  // elements [first, first + size): old files have storages that are a part of another
  uint64_t element_bytes() const { return dtype ? dtype->bytes : 1; }
};

struct PickledTensor {
  PickledStorage storage;
  const PickledDtype* dtype;
  uint64_t offset;  // in elements of `dtype`, as are the strides
  std::vector<int64_t> shape, strides;
};

/// A value by its place among all.
using PickleRef = uint32_t;

struct PickleValue {
  enum class Kind : uint8_t {
    None,
    Bool,
    Int,
    LongInt,  // of more than 64 bits; its bytes, little-endian
    Float,
    Text,
    Bytes,
    List,
    Tuple,
    Dict,      // or OrderedDict: keys and values by turns, in the order they were set
    Dtype,     // torch.float16
    Storage,   // the class: torch.HalfStorage
    Stored,    // one storage
    Tensor,    // or Parameter
    Function,  // one that is known here
    Other,     // a plain object that holds no tensor of ours: torch.Size, a set
  };
  Kind kind = Kind::None;
  int64_t number = 0;          // Bool, Int; of the others a place in a list of their kind
  std::string_view text = {};  // Text, Bytes, LongInt: in the pickle itself
  std::vector<PickleRef> items = {};
};

/// "a list", for messages.
const char* pickle_kind_name(PickleValue::Kind kind);

struct Pickle {
  std::vector<PickleValue> values;
  std::vector<PickledStorage> storages;  // number of Kind::Stored
  std::vector<PickledTensor> tensors;    // number of Kind::Tensor
  PickleRef root = 0;
  size_t bytes = 0;  // from its first to its STOP

  const PickleValue& operator[](PickleRef ref) const { return values[ref]; }
  /// The value of that text key in a dict, the last one set, or nullptr.
  const PickleValue* find(const PickleValue& dict, std::string_view key) const;
};

/// Reads the pickle that `bytes` begin with, protocols 2 to 5; texts stay in them. Memory: a small multiple of its
/// size, of which there are at most two million opcodes. Throws Failure(BadFile), also for every class, function and
/// opcode that plain tensors do not need, by its name, with how to convert such a file. `path` names the file.
Pickle read_pickle(std::string_view bytes, const std::string& path);

}  // namespace drm
