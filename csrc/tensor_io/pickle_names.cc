#include "tensor_io/pickle_names.h"

#include <cctype>
#include <iterator>

#include "common/failure.h"
#include "common/messages.h"

namespace drm {
namespace {

using Kind = PickleValue::Kind;

constexpr PickledDtype kDtypes[] = {
    {"float32", "FloatStorage", at::kFloat, "F32", 4},
    {"float64", "DoubleStorage", at::kDouble, "F64", 8},
    {"float16", "HalfStorage", at::kHalf, "F16", 2},
    {"bfloat16", "BFloat16Storage", at::kBFloat16, "BF16", 2},
    {"int64", "LongStorage", at::kLong, "I64", 8},
    {"int32", "IntStorage", at::kInt, "I32", 4},
    {"int16", "ShortStorage", at::kShort, "I16", 2},
    {"int8", "CharStorage", at::kChar, "I8", 1},
    {"uint8", "ByteStorage", at::kByte, "U8", 1},
    {"bool", "BoolStorage", at::kBool, "BOOL", 1},
    {"complex64", "ComplexFloatStorage", at::ScalarType::Undefined, "C64", 8},
    {"complex128", "ComplexDoubleStorage", at::ScalarType::Undefined, "C128", 16},
    {"float8_e4m3fn", "", at::kFloat8_e4m3fn, "F8_E4M3", 1},
    {"float8_e5m2", "", at::kFloat8_e5m2, "F8_E5M2", 1},
    {"float8_e4m3fnuz", "", at::kFloat8_e4m3fnuz, "F8_E4M3FNUZ", 1},
    {"float8_e5m2fnuz", "", at::kFloat8_e5m2fnuz, "F8_E5M2FNUZ", 1},
    {"uint64", "", at::ScalarType::Undefined, "U64", 8},
    {"uint32", "", at::ScalarType::Undefined, "U32", 4},
    {"uint16", "", at::ScalarType::Undefined, "U16", 2},
};
constexpr int64_t kUntyped = std::size(kDtypes);

struct Known {
  std::string_view name;
  PickleFunction function;
};
constexpr Known kFunctions[] = {
    {"collections.OrderedDict", PickleFunction::OrderedDict},
    {"torch._utils._rebuild_tensor", PickleFunction::RebuildTensor},
    {"torch._utils._rebuild_tensor_v2", PickleFunction::RebuildTensorV2},
    {"torch._utils._rebuild_tensor_v3", PickleFunction::RebuildTensorV3},
    {"torch._utils._rebuild_parameter", PickleFunction::RebuildParameter},
    {"torch._utils._rebuild_parameter_with_state", PickleFunction::RebuildParameterWithState},
    {"torch.nn.parameter.Parameter", PickleFunction::Parameter},
    // Beside weights in training checkpoints. PyTorch's own loader without code (weights_only) knows them, too.
    {"torch.Size", PickleFunction::Inert},
    {"torch.device", PickleFunction::Inert},
    {"torch.serialization._get_layout", PickleFunction::Inert},
    {"collections.Counter", PickleFunction::Inert},
    {"collections.defaultdict", PickleFunction::Inert},
    {"builtins.dict", PickleFunction::Inert},
    {"builtins.set", PickleFunction::Inert},
    {"builtins.frozenset", PickleFunction::Inert},
    {"builtins.complex", PickleFunction::Inert},
    {"builtins.bytearray", PickleFunction::Inert},
    {"__builtin__.dict", PickleFunction::Inert},
    {"__builtin__.set", PickleFunction::Inert},
    {"__builtin__.frozenset", PickleFunction::Inert},
    {"__builtin__.complex", PickleFunction::Inert},
    {"__builtin__.bytearray", PickleFunction::Inert},
    {"_codecs.encode", PickleFunction::Inert},
};

/// A name in a message: what a terminal would obey, or is no ASCII, becomes '?'.
std::string printed(std::string_view name) {
  auto text = shown(name);
  for (auto& c : text)
    if (!std::isprint(static_cast<unsigned char>(c))) c = '?';
  return text;
}

/// In single quotes for a shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) c == '\'' ? out += "'\\''" : out += c;
  return out + "'";
}

/// By Python's custom, classes begin with a capital letter.
std::string described(std::string_view module, std::string_view name) {
  const auto last = name.substr(name.rfind('.') + 1);  // npos + 1 is 0
  const bool is_class =
      !last.empty() && std::isupper(static_cast<unsigned char>(last[last.front() == '_' && last.size() > 1]));
  return (is_class ? "the class " : "the function ") + printed(module) + "." + printed(name);
}

}  // namespace

void refuse_pickle(const std::string& path, const std::string& found) {
  const auto dot = path.rfind('.'), slash = path.rfind('/');
  const bool ends = dot != std::string::npos && (slash == std::string::npos || dot > slash);
  const auto converted = (ends ? path.substr(0, dot) : path) + ".safetensors";
  throw Failure(
      Code::BadFile,
      "[load] " + path + ": expected plain tensors, found " + found +
          "; such a file can run code when opened in Python. If you trust who made it, convert it once to safetensors, "
          "where its classes can be imported:\n"
          "  python3 -c \"import sys, torch; from safetensors.torch import save_file; "
          "m = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
          "d = m.state_dict() if hasattr(m, 'state_dict') else m.get('state_dict', m); "
          "save_file({k: t.detach().clone().contiguous() for k, t in d.items() if torch.is_tensor(t)}, "
          "sys.argv[2])\" " +
          quoted(path) + " " + quoted(converted),
      {{"file", path}, {"found", found}});
}

PickleValue known_global(std::string_view module, std::string_view name, const std::string& path) {
  const auto full = std::string(module) + "." + std::string(name);
  for (const auto& known : kFunctions)
    if (known.name == full) return {Kind::Function, static_cast<int64_t>(known.function)};
  if (full == "torch.UntypedStorage" || full == "torch.storage.UntypedStorage") return {Kind::Storage, kUntyped};
  if (module == "torch")
    for (int64_t i = 0; i < kUntyped; ++i) {
      if (name == kDtypes[i].name) return {Kind::Dtype, i};
      if (!name.empty() && name == kDtypes[i].storage) return {Kind::Storage, i};
    }
  refuse_pickle(path, described(module, name));
}

const PickledDtype* pickled_dtype(const PickleValue& value) {
  return value.number == kUntyped ? nullptr : &kDtypes[value.number];
}

}  // namespace drm
