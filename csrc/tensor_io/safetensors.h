// safetensors files: a hardened, memory-mapped reader and an atomic writer. Format: 8 bytes little-endian header
// length, a JSON header {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {string: string}}, then the
// data.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/mapped_file.h"

namespace drm {

class JsonCursor;

struct TensorInfo {
  at::ScalarType dtype;  // Undefined: one that cannot be loaded, whose name is `unsupported`
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // byte range inside the data section
  std::string unsupported = {};
  uint64_t bytes() const { return end - begin; }
  /// As the file has it: "F32", "U16".
  std::string dtype_name() const;
};

class SafetensorsFile : public std::enable_shared_from_this<SafetensorsFile> {
 public:
  /// Maps the file and checks its header completely: length, JSON shape, products with overflow detection, order,
  /// overlap, holes, the file's real size. Allocates nothing for tensors, and for the header a small multiple of its
  /// size. A dtype that libtorch lacks matters only to who loads that tensor. Throws Failure(BadFile) naming the file
  /// and the entry, with sentences of their own for pickle files and Git LFS pointers, and as MappedFile::open().
  static std::shared_ptr<const SafetensorsFile> open(const std::string& path);
  /// The same of bytes in memory, which must outlive it; `path` names them in messages.
  static std::shared_ptr<const SafetensorsFile> read(std::string_view bytes, const std::string& path);
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// A copy in its own 64-byte-aligned memory, converted to `dtype` (integers and bool keep theirs) on `device`;
  /// the pages read are released again, so that the peak is the weights plus one tensor.
  /// Throws Failure(BadFile) when there is no such tensor or its dtype is not supported.
  at::Tensor load(const std::string& name, at::ScalarType dtype, at::Device device) const;
  /// The same with the dtype of the file, on the CPU.
  at::Tensor load(const std::string& name) const;
  /// The file's own bytes as a tensor, not to be written to: pages are read when used, and the file stays mapped while
  /// the tensor or a view of it lives. A copy where the data are not aligned for their type.
  at::Tensor view(const std::string& name) const;

 private:
  SafetensorsFile() = default;
  std::string path_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  void read_metadata(JsonCursor& json);
  const TensorInfo& loadable(const std::string& name) const;
  const char* data_ = nullptr;                // start of the data section
  std::shared_ptr<const MappedFile> mapped_;  // which it is in; none for bytes in memory
};

/// Writes to a temporary file beside `path`, syncs it, renames it over `path`, syncs the folder: a reader sees the old
/// file or the new one. Tensors are made contiguous on the CPU one at a time. Throws Failure(Disk) naming the file and
/// the system's reason, the temporary file removed.
void save_safetensors(const std::string& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

/// The same for a small text, such as a config that lies beside.
void save_text(const std::string& path, const std::string& text);

/// The same header as save_safetensors would write for tensors of these shapes, for planning and tests: no data needed.
std::string safetensors_header(const std::vector<std::pair<std::string, TensorInfo>>& tensors,
                               const std::map<std::string, std::string>& metadata = {});

}  // namespace drm
