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

#include "tensor_io/tensor_file.h"

namespace drm {

class JsonCursor;

class SafetensorsFile final : public TensorFile {
 public:
  /// Maps the file and checks its header completely: length, JSON shape, products with overflow detection, order,
  /// overlap, holes, the file's real size. Allocates nothing for tensors, and for the header a small multiple of its
  /// size. A dtype that libtorch lacks matters only to who loads that tensor. Throws Failure(BadFile) naming the file
  /// and the entry, with sentences of their own for pickle files and Git LFS pointers, and as MappedFile::open().
  static std::shared_ptr<const SafetensorsFile> open(const std::string& path);
  /// The same of bytes in memory, which must outlive it; `path` names them in messages.
  static std::shared_ptr<const SafetensorsFile> read(std::string_view bytes, const std::string& path);

  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  SafetensorsFile() = default;
  void read_metadata(JsonCursor& json);
  std::map<std::string, std::string> metadata_;
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
