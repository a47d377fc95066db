#include "tensor_io/tensor_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "common/failure.h"
#include "common/messages.h"

namespace drm {
namespace {

constexpr int64_t kChunk = 1 << 18;  // elements copied at a time

[[noreturn]] void bad(const std::string& path, const std::string& what) {
  throw Failure(Code::BadFile, "[load] " + path + ": " + what, {{"file", path}});
}

/// The elements of a tensor in the order of its rows, wherever they lie in the file.
class Elements {
 public:
  Elements(const char* data, const TensorInfo& info)
      : from_(data + info.begin), width_(static_cast<int64_t>(at::elementSize(info.dtype))), info_(info) {
    if (info.strides.empty()) return;
    outer_ = info.shape.size();
    while (outer_ > 0 && (info.shape[outer_ - 1] == 1 || info.strides[outer_ - 1] == run_))
      run_ *= info.shape[--outer_];
  }

  const char* at(int64_t element) const { return from_ + element * width_; }  // without strides
  int64_t width() const { return width_; }

  /// Copies elements first to first + n - 1.
  void copy(char* to, int64_t first, int64_t n) const {
    if (info_.strides.empty()) {
      std::memcpy(to, at(first), static_cast<size_t>(n * width_));
      return;
    }
    for (const auto end = first + n; first < end;) {
      const auto inside = first % run_, length = std::min(run_ - inside, end - first);
      auto offset = inside;
      auto rest = first / run_;
      for (auto d = outer_; d-- > 0; rest /= info_.shape[d]) offset += rest % info_.shape[d] * info_.strides[d];
      std::memcpy(to, at(offset), static_cast<size_t>(length * width_));
      to += length * width_;
      first += length;
    }
  }

 private:
  const char* from_;
  int64_t width_;
  const TensorInfo& info_;
  size_t outer_ = 0;  // sides before those whose elements follow each other,
  int64_t run_ = 1;   // of which there are so many
};

}  // namespace

const TensorInfo& TensorFile::loadable(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) bad(path_, "expected a tensor named " + shown(name) + ", found none");
  if (it->second.dtype == at::ScalarType::Undefined)
    bad(path_, shown(name) + ": expected floating-point numbers, found the dtype " + it->second.unsupported +
                   ", which is not supported; convert it to F32, F16 or BF16");
  return it->second;
}

at::Tensor TensorFile::load(const std::string& name) const { return load(name, loadable(name).dtype, at::kCPU); }

at::Tensor TensorFile::view(const std::string& name) const {
  const auto& info = loadable(name);
  const auto* from = data_ + info.begin;
  if (reinterpret_cast<uintptr_t>(from) % at::elementSize(info.dtype)) return load(name);
  const auto options = at::TensorOptions().dtype(info.dtype);
  const auto keep = [file = shared_from_this()](void*) {};
  auto* data = const_cast<char*>(from);
  return info.strides.empty() ? at::from_blob(data, info.shape, keep, options)
                              : at::from_blob(data, info.shape, info.strides, keep, options);
}

at::Tensor TensorFile::load(const std::string& name, at::ScalarType dtype, at::Device device) const {
  const auto& info = loadable(name);
  const auto target = at::isFloatingType(info.dtype) ? dtype : info.dtype;
  auto out = at::empty(info.shape, at::TensorOptions().dtype(target));  // 64-byte aligned by libtorch's allocator

  // Copied in chunks whose pages are given back at once: with mapped pages counted, memory peaks at the weights and one
  // chunk. With strides a page may hold elements of all chunks, and is given back after the last. The file's data may
  // be unaligned for its type, so they pass through an aligned buffer when converted.
  const Elements elements(data_, info);
  const auto count = out.numel();
  auto flat = out.view({-1});
  at::Tensor buffer;
  for (int64_t at = 0; at < count; at += kChunk) {
    const auto n = std::min(kChunk, count - at);
    if (target == info.dtype) {
      elements.copy(static_cast<char*>(flat.mutable_data_ptr()) + at * elements.width(), at, n);
    } else {
      if (!buffer.defined()) buffer = at::empty({std::min(kChunk, count)}, at::TensorOptions().dtype(info.dtype));
      elements.copy(static_cast<char*>(buffer.mutable_data_ptr()), at, n);
      flat.narrow(0, at, n).copy_(buffer.narrow(0, 0, n));
    }
    if (mapped_ && info.strides.empty()) mapped_->release(elements.at(at), static_cast<size_t>(n * elements.width()));
  }
  if (mapped_ && !info.strides.empty()) mapped_->release(data_ + info.begin, info.bytes());
  return device.is_cpu() ? out : out.to(device);
}

}  // namespace drm
