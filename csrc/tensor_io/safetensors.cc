#include "tensor_io/safetensors.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/failure.h"
#include "tensor_io/json.h"

namespace drm {
namespace {

constexpr uint64_t kLargestHeader = 100'000'000;  // as the reference implementation
constexpr uint64_t kAlignment = 64;               // vector instructions and BLAS like their data here
constexpr int64_t kChunk = 1 << 18;               // elements copied at a time

struct Dtype {
  const char* name;
  at::ScalarType type;
};
constexpr Dtype kDtypes[] = {{"F64", at::kDouble},
                             {"F32", at::kFloat},
                             {"F16", at::kHalf},
                             {"BF16", at::kBFloat16},
                             {"I64", at::kLong},
                             {"I32", at::kInt},
                             {"I16", at::kShort},
                             {"I8", at::kChar},
                             {"U8", at::kByte},
                             {"BOOL", at::kBool},
                             {"F8_E4M3", at::kFloat8_e4m3fn},
                             {"F8_E5M2", at::kFloat8_e5m2}};

const char* dtype_name(at::ScalarType t) {
  for (const auto& d : kDtypes)
    if (d.type == t) return d.name;
  throw Failure(Code::Internal,
                std::string("[save] tensors of dtype ") + c10::toString(t) + " have no safetensors name");
}

[[noreturn]] void bad(const std::string& path, const std::string& what) {
  throw Failure(Code::BadFile, "[load] " + path + ": " + what, {{"file", path}});
}

struct Descriptor {  // closes on every way out
  int fd;
  explicit Descriptor(int f) : fd(f) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
};

void read_exactly(int fd, void* to, uint64_t bytes, uint64_t offset, const std::string& path) {
  auto* p = static_cast<char*>(to);
  while (bytes) {
    const auto n = ::pread(fd, p, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) bad(path, std::string("could not be read: ") + (n ? std::strerror(errno) : "it ended early"));
    p += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<uint64_t>(n);
  }
}

/// Sentences of their own for what people most often pass instead of a safetensors file.
void recognise_strangers(const std::string& path, const char* first, size_t n) {
  const std::string_view start(first, n);
  if (n > 8 && first[8] == '{') return;  // a header length may begin with any byte
  if (start.starts_with("PK\x03\x04") || (n && static_cast<unsigned char>(first[0]) == 0x80))
    bad(path,
        "expected a safetensors file, found a pickle checkpoint (.bin, .ckpt, .pt), which can run code when loaded and "
        "is never read here; convert it with Python's "
        "safetensors.torch.save_file, or fetch the model's safetensors");
  if (start.starts_with("version https://git-lfs"))
    bad(path,
        "expected a safetensors file, found a Git LFS pointer in its place; run `git lfs pull` there, or fetch the "
        "model with `drm pull`");
  if (start.starts_with("<!DOCTYPE") || start.starts_with("<html"))
    bad(path, "expected a safetensors file, found a web page; the download failed, fetch it again with `drm pull`");
}

TensorInfo read_entry(const std::string& path, const std::string& name, const Json& entry) {
  const auto wrong = [&](const std::string& what) {
    bad(path, name + ": " + what + "; the file is damaged, fetch it again");
  };
  const auto* dtype = entry.find("dtype");
  const auto* shape = entry.find("shape");
  const auto* offsets = entry.find("data_offsets");
  if (!dtype || !dtype->is_string() || !shape || !shape->is_array() || !offsets || !offsets->is_array() ||
      offsets->items().size() != 2)
    wrong("expected dtype, shape and two data_offsets");
  TensorInfo info{};
  const auto known = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                  [&](const Dtype& d) { return dtype->as_string() == d.name; });
  if (known == std::end(kDtypes)) wrong("expected a known dtype, found " + dtype->as_string().substr(0, 40));
  info.dtype = known->type;
  uint64_t bytes = at::elementSize(info.dtype), span = bytes;
  for (const auto& side : shape->items()) {
    if (!side.is_int() || side.as_int() < 0) wrong("expected a shape of whole numbers");
    info.shape.push_back(side.as_int());
    // Strides are products, too, and those of an empty tensor do not become 0.
    if (__builtin_mul_overflow(span, std::max<uint64_t>(1, static_cast<uint64_t>(side.as_int())), &span) ||
        span > INT64_MAX)
      wrong("its shape overflows 64 bits");
    bytes *= static_cast<uint64_t>(side.as_int());
  }
  for (const auto& offset : offsets->items())
    if (!offset.is_int() || offset.as_int() < 0) wrong("expected data_offsets that are whole numbers");
  info.begin = static_cast<uint64_t>(offsets->items()[0].as_int());
  info.end = static_cast<uint64_t>(offsets->items()[1].as_int());
  if (info.begin > info.end) wrong("its data end before they begin");
  if (info.bytes() != bytes)
    wrong("expected " + std::to_string(bytes) + " bytes for its dtype and shape, found " +
          std::to_string(info.bytes()));
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
      bad(path, t->first + ": its data overlap another tensor's; the file is damaged, fetch it again");
    if (t->second.begin > end)
      bad(path, t->first + ": expected its data at byte " + std::to_string(end) + ", found a hole up to " +
                    std::to_string(t->second.begin) + "; the file is damaged, fetch it again");
    end = t->second.end;
  }
  if (size < end)
    bad(path, "expected " + std::to_string(end) + " bytes of tensors, found " + std::to_string(size) + " (" +
                  std::to_string(end - size) + " are missing); the download is incomplete, fetch it again");
  if (size > end)
    bad(path, "expected " + std::to_string(end) + " bytes of tensors, found " + std::to_string(size) +
                  "; the file is damaged, fetch it again");
}

}  // namespace

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) bad(path, std::string("expected a readable safetensors file: ") + std::strerror(errno));
  struct stat status {};
  if (::fstat(file.fd, &status) != 0 || !S_ISREG(status.st_mode))
    bad(path, "expected a safetensors file, found a folder or device");
  const auto size = static_cast<uint64_t>(status.st_size);

  char start[32] = {};
  const auto start_bytes = std::min<uint64_t>(size, sizeof start);
  read_exactly(file.fd, start, start_bytes, 0, path);
  recognise_strangers(path, start, start_bytes);
  if (size < 8) bad(path, "expected a safetensors file, found only " + std::to_string(size) + " bytes; fetch it again");
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | static_cast<unsigned char>(start[i]);
  if (header_bytes > kLargestHeader || header_bytes > size - 8)
    bad(path, "expected a header that fits the file, found a length of " + std::to_string(header_bytes) +
                  " bytes in a file of " + std::to_string(size) + "; it is truncated, damaged or no safetensors file");

  std::string header(header_bytes, '\0');
  read_exactly(file.fd, header.data(), header_bytes, 8, path);
  const auto json = Json::parse(header, path + " (header)");
  if (!json.is_object()) bad(path, "expected a JSON object as header; it is no safetensors file");

  auto opened = std::shared_ptr<SafetensorsFile>(new SafetensorsFile);
  opened->path_ = path;
  for (const auto& [name, entry] : json.members()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) bad(path, "__metadata__: expected an object of texts");
      for (const auto& [key, value] : entry.members()) {
        if (!value.is_string()) bad(path, "__metadata__." + key + ": expected a text");
        opened->metadata_[key] = value.as_string();
      }
    } else {
      opened->tensors_[name] = read_entry(path, name, entry);
    }
  }
  check_layout(path, opened->tensors_, size - 8 - header_bytes);

  opened->mapped_bytes_ = size;
  opened->mapping_ = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (opened->mapping_ == MAP_FAILED) {
    opened->mapping_ = nullptr;
    bad(path, std::string("could not be mapped into memory: ") + std::strerror(errno));
  }
  opened->data_ = static_cast<const uint8_t*>(opened->mapping_) + 8 + header_bytes;
  return opened;
}

SafetensorsFile::~SafetensorsFile() {
  if (mapping_) ::munmap(mapping_, mapped_bytes_);
}

at::Tensor SafetensorsFile::load(const std::string& name) const {
  const auto it = tensors_.find(name);
  return load(name, it == tensors_.end() ? at::kFloat : it->second.dtype, at::kCPU);
}

at::Tensor SafetensorsFile::view(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) return load(name);  // which says what is wrong
  const auto* from = data_ + it->second.begin;
  const auto options = at::TensorOptions().dtype(it->second.dtype);
  if (reinterpret_cast<uintptr_t>(from) % at::elementSize(it->second.dtype)) return load(name);
  return at::from_blob(
      const_cast<uint8_t*>(from), it->second.shape, [file = shared_from_this()](void*) {}, options);
}

at::Tensor SafetensorsFile::load(const std::string& name, at::ScalarType dtype, at::Device device) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) bad(path_, "expected a tensor named " + name + ", found none");
  const auto& info = it->second;
  const auto target = at::isFloatingType(info.dtype) ? dtype : info.dtype;
  auto out = at::empty(info.shape, at::TensorOptions().dtype(target));  // 64-byte aligned by libtorch's allocator
  const auto* source = data_ + info.begin;
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));

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
    const auto first = (reinterpret_cast<uintptr_t>(from) + page - 1) / page * page,
               last = (reinterpret_cast<uintptr_t>(from) + bytes) / page * page;
    if (last > first) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
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
    json += "}";
  }
  uint64_t offset = 0;
  for (const auto& [name, info] : tensors) {
    uint64_t bytes = at::elementSize(info.dtype);
    for (const auto side : info.shape) bytes *= static_cast<uint64_t>(side);
    if (json.size() > 1) json += ',';
    json += json_text(name) + ":{\"dtype\":\"" + dtype_name(info.dtype) + "\",\"shape\":[";
    for (size_t i = 0; i < info.shape.size(); ++i) {
      if (i) json += ',';
      json += std::to_string(info.shape[i]);
    }
    json += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + bytes) + "]}";
    offset += bytes;
  }
  json += "}";
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
