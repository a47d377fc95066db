#include "tensor_io/pickle_file.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <unordered_map>

#include "common/failure.h"
#include "common/messages.h"
#include "tensor_io/pickle.h"
#include "tensor_io/utf8.h"
#include "tensor_io/zip.h"

namespace drm {
namespace {

using Kind = PickleValue::Kind;

constexpr const char* kExpected = "a checkpoint of torch.save";
constexpr std::string_view kProgram = "/data.pkl";
constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";  // an integer, little-endian
constexpr int64_t kStreamProtocol = 1001;
constexpr int kNewestVersion = 10;  // of the zip's layout, which PyTorch 2 reads
constexpr size_t kCountBytes = 8;   // before each storage in a stream

[[noreturn]] void bad(const std::string& path, const std::string& what) {
  throw Failure(Code::BadFile, "[load] " + path + ": " + what, {{"file", path}});
}

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  bad(path, what + "; the file is damaged, fetch it again");
}

[[noreturn]] void refuse_big_endian(const std::string& path) {
  bad(path,
      "expected little-endian numbers, found those of a big-endian machine; load it with torch.load and save it again "
      "on a usual one");
}

/// What was saved, and where the bytes of a storage are.
struct Checkpoint {
  Pickle pickle;
  std::function<std::string_view(const PickledStorage&)> bytes_of;
};

/// The folder in a zip that holds the program.
std::string folder_of(const ZipArchive& zip, const std::string& path) {
  std::optional<std::string> folder;
  for (const auto& [name, member] : zip.members()) {
    if (!name.ends_with(kProgram) || name.find('/') != name.size() - kProgram.size()) continue;
    if (folder) bad(path, "expected one data.pkl in the zip, found several; fetch the file again");
    folder = name.substr(0, name.size() - kProgram.size());
  }
  if (!folder) bad(path, std::string("expected ") + kExpected + ", found a zip of other files; unpack it first");
  return *folder;
}

Checkpoint read_zip(std::string_view bytes, const std::string& path) {
  const auto zip = std::make_shared<const ZipArchive>(bytes, path);
  const auto folder = folder_of(*zip, path);
  const auto text_of = [&](const char* name) -> std::optional<std::string_view> {
    if (!zip->members().contains(folder + name)) return std::nullopt;
    return zip->checked_bytes_of(folder + name);
  };
  if (zip->members().contains(folder + "/constants.pkl"))
    bad(path,
        "expected plain tensors, found a TorchScript program, which holds code; load it with torch.jit.load and save "
        "its state_dict() with torch.save");
  if (const auto order = text_of("/byteorder"); order && *order != "little") {
    if (*order == "big") refuse_big_endian(path);
    damaged(path, "expected a byteorder of little or big, found " + shown(*order));
  }
  if (const auto version = text_of("/version")) {
    const auto digits = version->substr(0, version->find_last_not_of("\r\n") + 1);
    const bool whole =
        !digits.empty() && digits.size() <= 4 && digits.find_first_not_of("0123456789") == std::string_view::npos;
    if (!whole) damaged(path, "expected the format's version, found " + shown(*version));
    if (std::stoi(std::string(digits)) > kNewestVersion)
      bad(path, "expected a format of version " + std::to_string(kNewestVersion) + " at most, found " +
                    std::string(digits) + "; save it with an older PyTorch, or convert it to safetensors");
  }
  const auto program = zip->checked_bytes_of(folder + std::string(kProgram));
  auto pickle = read_pickle(program, path);
  if (pickle.bytes != program.size())
    damaged(path, "expected a pickle of " + std::to_string(program.size()) + " bytes, found its end after " +
                      std::to_string(pickle.bytes));
  return {std::move(pickle), [zip, folder](const PickledStorage& storage) {
            return zip->bytes_of(folder + "/data/" + std::string(storage.key));
          }};
}

using Storages = std::unordered_map<std::string_view, std::string_view>;

/// The storages of a stream: each its number of elements and then those, in the order of a list of their keys.
Storages read_storages(std::string_view rest, const Pickle& object, const Pickle& keys, const std::string& path) {
  std::unordered_map<std::string_view, const PickledStorage*> described;
  for (const auto& storage : object.storages) {
    const auto* first = described.try_emplace(storage.key, &storage).first->second;
    if (first->count != storage.count || first->dtype != storage.dtype)
      damaged(path, "storage " + shown(storage.key) + ": expected one size and dtype, found two");
  }
  Storages storages;
  for (const auto ref : keys[keys.root].items) {
    const auto& key = keys[ref];
    const auto found = described.find(key.text);
    if (key.kind != Kind::Text || found == described.end())
      damaged(path, "expected the keys of its storages, found another: " + shown(key.text));
    const auto& storage = *found->second;
    const auto width = storage.element_bytes();
    const auto expected = "storage " + shown(key.text) + ": expected " + std::to_string(storage.count) + " elements";
    if (rest.size() < kCountBytes || storage.count > (rest.size() - kCountBytes) / width)
      bad(path, expected + ", found the end of the file; the download is incomplete, fetch it again");
    uint64_t count = 0;
    for (size_t i = kCountBytes; i-- > 0;) count = count << 8 | static_cast<unsigned char>(rest[i]);
    if (count != storage.count) damaged(path, expected + ", found " + std::to_string(count));
    if (!storages.try_emplace(storage.key, rest.substr(kCountBytes, count * width)).second)
      damaged(path, expected + " once, found them twice");
    rest.remove_prefix(kCountBytes + count * width);
  }
  if (!rest.empty())
    damaged(path, "expected the end of the file after its storages, found " + std::to_string(rest.size()) + " bytes");
  return storages;
}

Checkpoint read_stream(std::string_view bytes, const std::string& path) {
  auto next = [&, rest = bytes]() mutable {
    auto pickle = read_pickle(rest, path);
    rest.remove_prefix(pickle.bytes);
    return std::pair(std::move(pickle), rest);
  };
  const auto magic = next().first;
  const auto& number = magic[magic.root];
  if (number.kind != Kind::LongInt || number.text != kMagic)
    bad(path, std::string("expected ") + kExpected + ", found another program's pickle (" +
                  pickle_kind_name(number.kind) + "); save its tensors with torch.save");
  const auto protocol = next().first;
  if (const auto& found = protocol[protocol.root]; found.kind != Kind::Int || found.number != kStreamProtocol)
    damaged(path, "expected a stream of protocol " + std::to_string(kStreamProtocol) + ", found another");
  const auto system = next().first;
  const auto* little = system.find(system[system.root], "little_endian");
  if (!little || little->kind != Kind::Bool) damaged(path, "expected the order of bytes, found none");
  if (!little->number) refuse_big_endian(path);
  auto object = next().first;
  const auto [keys, rest] = next();
  if (keys[keys.root].kind != Kind::List)
    damaged(path, std::string("expected the keys of its storages, found ") + pickle_kind_name(keys[keys.root].kind));
  auto storages = read_storages(rest, object, keys, path);
  return {std::move(object), [storages = std::move(storages), path](const PickledStorage& storage) {
            const auto found = storages.find(storage.key);
            if (found == storages.end()) damaged(path, "expected storage " + shown(storage.key) + ", found none");
            return found->second;
          }};
}

/// The dict of tensors by name.
const PickleValue& state_dict(const Pickle& pickle, const std::string& path) {
  const auto& root = pickle[pickle.root];
  if (root.kind != Kind::Dict)
    bad(path, std::string("expected a dict of tensors, found ") + pickle_kind_name(root.kind) +
                  "; save a state_dict() with torch.save");
  const auto* inner = pickle.find(root, "state_dict");
  return inner && inner->kind == Kind::Dict ? *inner : root;
}

/// Where a tensor's elements are in `file`. All that the pickle says of them is checked here.
TensorInfo locate(const PickledTensor& tensor, std::string_view storage_bytes, std::string_view file,
                  const std::function<void(const std::string& expected, const std::string& found)>& wrong) {
  const auto& storage = tensor.storage;
  const auto width = storage.element_bytes(), element = tensor.dtype->bytes;
  if (storage_bytes.size() % width || storage_bytes.size() / width != storage.count)
    wrong("a storage of " + std::to_string(storage.count) + " x " + std::to_string(width) + " bytes",
          std::to_string(storage_bytes.size()) + " bytes");
  const auto part = storage_bytes.substr(storage.first * width, storage.size * width);

  // Strides are products, too, and those of an empty tensor do not become 0.
  uint64_t span = element, count = 1, last = tensor.offset;
  bool far = false, dense = true;
  int64_t run = 1;
  for (auto d = tensor.shape.size(); d-- > 0;) {
    const auto side = static_cast<uint64_t>(tensor.shape[d]), stride = static_cast<uint64_t>(tensor.strides[d]);
    uint64_t reach = 0;
    if (__builtin_mul_overflow(span, std::max<uint64_t>(1, side), &span) || span > INT64_MAX)
      wrong("a shape that fits 64 bits", "one that overflows them");
    count *= side;
    if (side > 1) far |= __builtin_mul_overflow(side - 1, stride, &reach);
    far |= __builtin_add_overflow(last, reach, &last);
    dense &= side == 1 || tensor.strides[d] == run;
    run *= tensor.shape[d];
  }
  const auto available = part.size() / element;
  if (count > 0 && (far || last >= available))
    wrong("its elements inside its storage of " + std::to_string(available),
          far ? "them far outside" : "one at " + std::to_string(last));
  // A view may repeat elements (strides of 0): what is made of them must not outgrow what is there.
  if (count > file.size() / element)
    wrong("a tensor that is no larger than the file",
          std::to_string(count) + " x " + std::to_string(element) + " bytes");

  const auto part_begin = static_cast<uint64_t>(part.data() - file.data());
  TensorInfo info{tensor.dtype->type, tensor.shape};
  info.begin = part_begin + (count > 0 ? tensor.offset * element : 0);
  info.end = count > 0 ? part_begin + (last + 1) * element : info.begin;
  if (info.dtype == at::ScalarType::Undefined) info.unsupported = tensor.dtype->label;
  if (count > 0 && !dense) info.strides = tensor.strides;
  return info;
}

/// Names of what was saved instead of tensors.
std::string members_of(const Pickle& pickle, const PickleValue& dict) {
  constexpr size_t kShown = 8;
  std::string names;
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const auto& name = pickle[dict.items[i]];
    if (i / 2 == kShown) return names + ", ...";
    names += (i ? ", " : "") +
             (name.kind == Kind::Text && is_utf8(name.text) ? shown(name.text) : pickle_kind_name(name.kind));
  }
  return names.empty() ? "nothing" : names;
}

}  // namespace

std::shared_ptr<const PickleFile> PickleFile::open(const std::string& path) {
  auto mapped = MappedFile::open(path, "load", kExpected);
  const auto opened = std::const_pointer_cast<PickleFile>(read(mapped->bytes(), path));
  // The members' headers lie all over the file, each with pages that were read ahead.
  mapped->release(mapped->bytes().data(), mapped->bytes().size());
  opened->mapped_ = std::move(mapped);
  return opened;
}

std::shared_ptr<const PickleFile> PickleFile::read(std::string_view bytes, const std::string& path) {
  const auto checkpoint = bytes.starts_with("PK") ? read_zip(bytes, path) : read_stream(bytes, path);
  const auto& pickle = checkpoint.pickle;
  const auto& dict = state_dict(pickle, path);
  auto opened = std::shared_ptr<PickleFile>(new PickleFile);
  opened->path_ = path;
  opened->data_ = bytes.data();
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const auto &key = pickle[dict.items[i]], &value = pickle[dict.items[i + 1]];
    if (value.kind != Kind::Tensor) continue;
    if (key.kind != Kind::Text || !is_utf8(key.text))
      bad(path, std::string("expected names of tensors, found ") +
                    (key.kind == Kind::Text ? "a text that is no UTF-8" : pickle_kind_name(key.kind)) +
                    "; save a state_dict() with torch.save");
    const std::string name(key.text);
    const auto wrong = [&](const std::string& expected, const std::string& found) {
      damaged(path, shown(name) + ": expected " + expected + ", found " + found);
    };
    const auto& tensor = pickle.tensors[static_cast<size_t>(value.number)];
    auto info = locate(tensor, checkpoint.bytes_of(tensor.storage), bytes, wrong);
    if (!opened->tensors_.try_emplace(name, std::move(info)).second) wrong("one tensor of that name", "two");
  }
  if (opened->tensors_.empty())
    bad(path, "expected tensors in the dict that was saved or under its state_dict, found " + members_of(pickle, dict) +
                  "; save the part that holds the weights alone with torch.save");
  return opened;
}

bool PickleFile::recognises(std::string_view bytes) {
  if (bytes.starts_with("PK\x03\x04")) return true;
  if (bytes.size() < 2 || bytes[0] != '\x80' || bytes[1] < 2 || bytes[1] > 5) return false;
  // The same two bytes may begin the length of a safetensors header, which then fits the file.
  uint64_t header = 0;
  for (size_t i = std::min<size_t>(8, bytes.size()); i-- > 0;)
    header = header << 8 | static_cast<unsigned char>(bytes[i]);
  return bytes.size() < 8 || header > bytes.size() - 8;
}

bool PickleFile::recognises_file(const std::string& path) {
  return recognises(MappedFile::open(path, "load", "a weights file")->bytes());
}

}  // namespace drm
