// A file of named tensors, memory-mapped: what its format's reader found in it, and how numbers come out of it. Readers
// check all that a file states before anything here is called.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/mapped_file.h"

namespace drm {

struct TensorInfo {
  at::ScalarType dtype;  // Undefined: one that cannot be loaded, whose name is `unsupported`
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // byte range inside the data section
  std::string unsupported = {};
  std::vector<int64_t> strides = {};  // in elements, one a side; none: rows one after the other
  uint64_t bytes() const { return end - begin; }
  /// As safetensors has it: "F32", "U16".
  std::string dtype_name() const;
};

class TensorFile : public std::enable_shared_from_this<TensorFile> {
 public:
  virtual ~TensorFile() = default;
  TensorFile(const TensorFile&) = delete;
  TensorFile& operator=(const TensorFile&) = delete;

  const std::string& path() const { return path_; }
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }

  /// A copy in its own 64-byte-aligned memory, contiguous, converted to `dtype` (integers and bool keep theirs) on
  /// `device`; the pages read are released again, so that the peak is the weights plus one chunk (one tensor where the
  /// file has strides). Throws Failure(BadFile) when there is no such tensor or its dtype is not supported.
  at::Tensor load(const std::string& name, at::ScalarType dtype, at::Device device) const;
  /// The same with the dtype of the file, on the CPU.
  at::Tensor load(const std::string& name) const;
  /// The file's own bytes as a tensor, not to be written to: pages are read when used, and the file stays mapped while
  /// the tensor or a view of it lives. A copy where the data are not aligned for their type.
  at::Tensor view(const std::string& name) const;

 protected:
  TensorFile() = default;
  std::string path_;
  std::map<std::string, TensorInfo> tensors_;
  const char* data_ = nullptr;                // start of the data section
  std::shared_ptr<const MappedFile> mapped_;  // which it is in; none for bytes in memory

 private:
  const TensorInfo& loadable(const std::string& name) const;
};

}  // namespace drm
