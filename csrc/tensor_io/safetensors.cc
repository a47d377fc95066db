#include "tensor_io/safetensors.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/descriptor.h"
#include "common/failure.h"
#include "common/messages.h"
#include "tensor_io/json_cursor.h"

namespace drm {
namespace {

constexpr uint64_t kLargestHeader = 100'000'000;  // as the reference implementation
constexpr uint64_t kAlignment = 64;               // vector instructions and BLAS like their data here
constexpr int64_t kChunk = 1 << 18;               // elements copied at a time

struct Dtype {
  const char* name;
  at::ScalarType type;  // Undefined: none that tensors here are computed with
  uint64_t bits;
};
constexpr Dtype kDtypes[] = {{"F64", at::kDouble, 64},
                             {"F32", at::kFloat, 32},
                             {"F16", at::kHalf, 16},
                             {"BF16", at::kBFloat16, 16},
                             {"I64", at::kLong, 64},
                             {"I32", at::kInt, 32},
                             {"I16", at::kShort, 16},
                             {"I8", at::kChar, 8},
                             {"U8", at::kByte, 8},
                             {"BOOL", at::kBool, 8},
                             {"F8_E4M3", at::kFloat8_e4m3fn, 8},
                             {"F8_E5M2", at::kFloat8_e5m2, 8},
                             {"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz, 8},
                             {"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz, 8},
                             {"U64", at::ScalarType::Undefined, 64},
                             {"U32", at::ScalarType::Undefined, 32},
                             {"U16", at::ScalarType::Undefined, 16},
                             {"C64", at::ScalarType::Undefined, 64},
                             {"F8_E8M0", at::ScalarType::Undefined, 8},
                             {"F6_E2M3", at::ScalarType::Undefined, 6},
                             {"F6_E3M2", at::ScalarType::Undefined, 6},
                             {"F4", at::ScalarType::Undefined, 4}};

const char* safetensors_name(at::ScalarType t) {
  for (const auto& d : kDtypes)
    if (d.type == t) return d.name;
  throw Failure(Code::Internal,
                std::string("[save] tensors of dtype ") + c10::toString(t) + " have no safetensors name");
}

[[noreturn]] void bad_file(const std::string& path, const std::string& what) {
  throw Failure(Code::BadFile, "[load] " + path + ": " + what, {{"file", path}});
}

/// Sentences of their own for what people most often pass instead of a safetensors file.
void recognise_strangers(const std::string& path, std::string_view start) {
  if (start.starts_with("PK\x03\x04") || start.starts_with('\x80'))
    bad_file(
        path,
        "expected a safetensors file, found a pickle checkpoint (.bin, .ckpt, .pt), which can run code when loaded and "
        "is never read here; convert it with Python's "
        "safetensors.torch.save_file, or fetch the model's safetensors");
  if (start.starts_with("version https://git-lfs"))
    bad_file(
        path,
        "expected a safetensors file, found a Git LFS pointer in its place; run `git lfs pull` there, or fetch the "
        "model with `drm pull`");
  if (start.starts_with("<!DOCTYPE") || start.starts_with("<html"))
    bad_file(path,
             "expected a safetensors file, found a web page; the download failed, fetch it again with `drm pull`");
}

TensorInfo read_entry(const std::string& path, const std::string& name, JsonCursor& json) {
  const auto wrong = [&](const std::string& what) {
    bad_file(path, shown(name) + ": " + what + "; the file is damaged, fetch it again");
  };
  const auto whole = [&](const char* what) {
    if (json.next() != Json::Kind::Double) wrong(what);
    const auto number = json.number();
    const auto* integer = std::get_if<int64_t>(&number);
    if (!integer || *integer < 0) wrong(what);
    return *integer;
  };
  TensorInfo info{at::ScalarType::Undefined, {}};
  std::vector<uint64_t> offsets;
  bool typed = false, shaped = false, placed = false;
  if (json.next() != Json::Kind::Object) wrong("expected dtype, shape and two data_offsets");
  json.object([&](std::string&& key) {
    const auto kind = json.next();
    if (key == "dtype" && kind == Json::Kind::String && !typed) {
      typed = true;
      info.unsupported = json.string();
    } else if (key == "shape" && kind == Json::Kind::Array && !shaped) {
      shaped = true;
      json.array([&] { info.shape.push_back(whole("expected a shape of whole numbers")); });
    } else if (key == "data_offsets" && kind == Json::Kind::Array && !placed) {
      placed = true;
      json.array([&] {
        if (offsets.size() == 2) wrong("expected dtype, shape and two data_offsets");
        offsets.push_back(static_cast<uint64_t>(whole("expected data_offsets that are whole numbers")));
      });
    } else if (key == "dtype" || key == "shape" || key == "data_offsets") {
      wrong("expected dtype, shape and two data_offsets");
    } else {
      json.skip();
    }
  });
  if (!typed || !shaped || offsets.size() != 2) wrong("expected dtype, shape and two data_offsets");
  info.shape.shrink_to_fit();
  info.begin = offsets[0];
  info.end = offsets[1];
  if (info.begin > info.end) wrong("its data end before they begin");
  const auto known =
      std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const Dtype& d) { return info.unsupported == d.name; });
  if (known == std::end(kDtypes)) {  // of a newer format: how large its elements are is not known
    if (info.unsupported.size() > 16) wrong("expected a dtype, found " + shown(info.unsupported));
    return info;
  }
  uint64_t bits = known->bits, span = bits;
  for (const auto side : info.shape) {
    // Strides are products, too, and those of an empty tensor do not become 0.
    if (__builtin_mul_overflow(span, std::max<uint64_t>(1, static_cast<uint64_t>(side)), &span) || span > INT64_MAX)
      wrong("its shape overflows 64 bits");
    bits *= static_cast<uint64_t>(side);
  }
  if (bits % 8 || info.bytes() != bits / 8)
    wrong("expected " + std::to_string(bits / 8) + (bits % 8 ? " and a part of a byte" : " bytes") +
          " for its dtype and shape, found " + std::to_string(info.bytes()));
  info.dtype = known->type;
  if (info.dtype != at::ScalarType::Undefined) info.unsupported.clear();
  return info;
}

/// Entries must tile [0, size) without overlap or hole.
void check_layout(const std::string& path, const std::map<std::string, TensorInfo>& tensors, uint64_t size) {
  std::vector<const std::pair<const std::string, TensorInfo>*> order;
  for (const auto& t : tensors) order.push_back(&t);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t end = 0;
  for (const auto* t : order) {
    if (t->second.begin < end)
      bad_file(path, shown(t->first) + ": its data overlap another tensor's; the file is damaged, fetch it again");
    if (t->second.begin > end)
      bad_file(path, shown(t->first) + ": expected its data at byte " + std::to_string(end) + ", found a hole up to " +
                         std::to_string(t->second.begin) + "; the file is damaged, fetch it again");
    end = t->second.end;
  }
  if (size < end)
    bad_file(path, "expected " + std::to_string(end) + " bytes of tensors, found " + std::to_string(size) + " (" +
                       std::to_string(end - size) + " are missing); the download is incomplete, fetch it again");
  if (size > end)
    bad_file(path, "expected " + std::to_string(end) + " bytes of tensors, found " + std::to_string(size) +
                       "; the file is damaged, fetch it again");
}

}  // namespace

std::string TensorInfo::dtype_name() const {
  return dtype == at::ScalarType::Undefined ? unsupported : safetensors_name(dtype);
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  auto mapped = MappedFile::open(path, "load", "a safetensors file");
  const auto opened = std::const_pointer_cast<SafetensorsFile>(read(mapped->bytes(), path));
  opened->mapped_ = std::move(mapped);
  return opened;
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::read(std::string_view bytes, const std::string& path) {
  uint64_t header_bytes = 0;
  if (bytes.size() < 8) {
    recognise_strangers(path, bytes);
    bad_file(path,
             "expected a safetensors file, found only " + std::to_string(bytes.size()) + " bytes; fetch it again");
  }
  for (size_t i = 8; i-- > 0;) header_bytes = header_bytes << 8 | static_cast<unsigned char>(bytes[i]);
  if (header_bytes > kLargestHeader || header_bytes > bytes.size() - 8) {
    recognise_strangers(path, bytes);
    bad_file(path, "expected a header that fits the file, found a length of " + std::to_string(header_bytes) +
                       " bytes in a file of " + std::to_string(bytes.size()) +
                       "; it is truncated, damaged or no safetensors file");
  }
  auto opened = std::shared_ptr<SafetensorsFile>(new SafetensorsFile);
  opened->path_ = path;
  const auto where = path + " (header)";
  JsonCursor json(bytes.substr(8, header_bytes), where);
  if (json.next() != Json::Kind::Object) bad_file(path, "expected a JSON object as header; it is no safetensors file");
  bool described = false;
  json.object([&](std::string&& name) {
    if (name == "__metadata__") {
      if (std::exchange(described, true)) json.fail("key \"__metadata__\" appears twice");
      opened->read_metadata(json);
      return;
    }
    auto info = read_entry(path, name, json);
    if (!opened->tensors_.try_emplace(std::move(name), std::move(info)).second)
      json.fail("key \"" + shown(name) + "\" appears twice");
  });
  json.end();
  check_layout(path, opened->tensors_, bytes.size() - 8 - header_bytes);
  opened->data_ = bytes.data() + 8 + header_bytes;
  return opened;
}

void SafetensorsFile::read_metadata(JsonCursor& json) {
  if (json.next() == Json::Kind::Null) return json.null();
  if (json.next() != Json::Kind::Object) bad_file(path_, "__metadata__: expected an object of texts");
  json.object([&](std::string&& key) {
    if (json.next() != Json::Kind::String) bad_file(path_, "__metadata__." + shown(key) + ": expected a text");
    auto text = json.string();
    if (!metadata_.try_emplace(std::move(key), std::move(text)).second)
      json.fail("key \"" + shown(key) + "\" appears twice");
  });
}

const TensorInfo& SafetensorsFile::loadable(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) bad_file(path_, "expected a tensor named " + shown(name) + ", found none");
  if (it->second.dtype == at::ScalarType::Undefined)
    bad_file(path_, shown(name) + ": expected floating-point numbers, found the dtype " + it->second.unsupported +
                        ", which is not supported; convert it to F32, F16 or BF16");
  return it->second;
}

at::Tensor SafetensorsFile::load(const std::string& name) const { return load(name, loadable(name).dtype, at::kCPU); }

at::Tensor SafetensorsFile::view(const std::string& name) const {
  const auto& info = loadable(name);
  const auto* from = data_ + info.begin;
  if (reinterpret_cast<uintptr_t>(from) % at::elementSize(info.dtype)) return load(name);
  return at::from_blob(
      const_cast<char*>(from), info.shape, [file = shared_from_this()](void*) {},
      at::TensorOptions().dtype(info.dtype));
}

at::Tensor SafetensorsFile::load(const std::string& name, at::ScalarType dtype, at::Device device) const {
  const auto& info = loadable(name);
  const auto target = at::isFloatingType(info.dtype) ? dtype : info.dtype;
  auto out = at::empty(info.shape, at::TensorOptions().dtype(target));  // 64-byte aligned by libtorch's allocator
  const auto* source = data_ + info.begin;

  // Copied in chunks whose pages are given back at once: with mapped pages counted, memory peaks at the weights and one
  // chunk. The file's data may be unaligned for its type, so they pass through an aligned buffer when converted.
  const auto element = static_cast<int64_t>(at::elementSize(info.dtype));
  const auto count = out.numel();
  auto flat = out.view({-1});
  at::Tensor buffer;
  for (int64_t at = 0; at < count; at += kChunk) {
    const auto n = std::min(kChunk, count - at);
    const auto* from = source + at * element;
    const auto bytes = static_cast<size_t>(n * element);
    if (target == info.dtype) {
      std::memcpy(static_cast<char*>(flat.mutable_data_ptr()) + at * element, from, bytes);
    } else {
      if (!buffer.defined()) buffer = at::empty({std::min(kChunk, count)}, at::TensorOptions().dtype(info.dtype));
      std::memcpy(buffer.mutable_data_ptr(), from, bytes);
      flat.narrow(0, at, n).copy_(buffer.narrow(0, 0, n));
    }
    if (mapped_) mapped_->release(from, bytes);
  }
  return device.is_cpu() ? out : out.to(device);
}

namespace {

class Writer {  // a temporary file beside the target, which takes its place only when complete
 public:
  explicit Writer(const std::string& path) : path_(path), temporary_(path + ".tmp-" + std::to_string(::getpid())) {
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd_ < 0) fail("cannot be written");
  }
  ~Writer() {
    if (fd_ >= 0) {
      ::close(fd_);
      ::unlink(temporary_.c_str());
    }
  }
  void write(const void* data, size_t bytes) {
    const auto* p = static_cast<const char*>(data);
    while (bytes) {
      const auto n = ::write(fd_, p, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("could not be written to its end");
      p += n;
      bytes -= static_cast<size_t>(n);
    }
  }
  void finish() {
    if (::fsync(fd_) != 0) fail("could not be brought to disk");
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("could not be put in place");
    ::close(fd_);
    fd_ = -1;
    const auto slash = path_.rfind('/');
    const Descriptor folder(::open(slash == std::string::npos ? "." : path_.substr(0, slash + 1).c_str(),
                                   O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.fd >= 0) ::fsync(folder.fd);  // some file systems cannot sync folders; the file itself is safe
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    const auto reason = errno;
    throw Failure(Code::Disk,
                  "[save] " + path_ + ": " + what + ": " + std::strerror(reason) +
                      (reason == ENOSPC ? "; free some space, or write to another disk"
                                        : "; check the folder and its permissions"),
                  {{"file", path_}, {"reason", std::strerror(reason)}});
  }
  std::string path_, temporary_;
  int fd_ = -1;
};

}  // namespace

void save_text(const std::string& path, const std::string& text) {
  Writer writer(path);
  writer.write(text.data(), text.size());
  writer.finish();
}

std::string safetensors_header(const std::vector<std::pair<std::string, TensorInfo>>& tensors,
                               const std::map<std::string, std::string>& metadata) {
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      if (json.back() != '{') json += ',';
      json += json_text(key) + ":" + json_text(value);
    }
    json += '}';
  }
  uint64_t offset = 0;
  for (const auto& [name, info] : tensors) {
    uint64_t bytes = at::elementSize(info.dtype);
    for (const auto side : info.shape) bytes *= static_cast<uint64_t>(side);
    if (json.size() > 1) json += ',';
    json += json_text(name) + ":{\"dtype\":\"" + safetensors_name(info.dtype) + "\",\"shape\":[";
    for (size_t i = 0; i < info.shape.size(); ++i) {
      if (i) json += ',';
      json += std::to_string(info.shape[i]);
    }
    json += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + bytes) + "]}";
    offset += bytes;
  }
  json += '}';
  json.append((kAlignment - (8 + json.size()) % kAlignment) % kAlignment, ' ');
  std::string header(8, '\0');
  for (int i = 0; i < 8; ++i) header[static_cast<size_t>(i)] = static_cast<char>(json.size() >> (8 * i) & 0xff);
  return header.append(json);
}

void save_safetensors(const std::string& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  // The reference's order: wide elements first, so that every tensor is aligned for its type; then by name.
  auto order = tensors;
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    const auto wa = a.second.element_size(), wb = b.second.element_size();
    return wa != wb ? wa > wb : a.first < b.first;
  });
  std::vector<std::pair<std::string, TensorInfo>> infos;
  for (const auto& [name, tensor] : order)
    infos.emplace_back(name, TensorInfo{tensor.scalar_type(), tensor.sizes().vec()});
  Writer writer(path);
  const auto header = safetensors_header(infos, metadata);
  writer.write(header.data(), header.size());
  for (const auto& [name, tensor] : order) {
    const auto dense = tensor.detach().to(at::kCPU).contiguous();
    writer.write(dense.const_data_ptr(), dense.nbytes());
  }
  writer.finish();
}

}  // namespace drm
