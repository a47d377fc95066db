// Checkpoints that torch.save wrote, read without Python: plain tensors by name, their bytes in the mapped file. Read
// are zip archives (NAME/data.pkl, the storages beside it as NAME/data/KEY) and, of PyTorch before 1.6, the stream
// (magic number, protocol, system, object, keys of storages, storages). Format: PyTorch's torch/serialization.py.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "tensor_io/tensor_file.h"

namespace drm {

class PickleFile final : public TensorFile {
 public:
  /// Maps the file and reads what describes its tensors: those of the dict that was saved, or of the one under its
  /// `state_dict`; what else stands beside them (numbers, texts, an optimizer's state) is passed over. Every tensor
  /// lies inside its storage and is no larger than the file; nothing is allocated for them. Views (transposed, slices,
  /// several tensors in one storage) keep their strides. Nothing in the file is run: see pickle.h, as for what is
  /// refused. The tensors' own bytes have no checksum that is compared.
  /// Throws Failure(BadFile) naming the file, and as MappedFile::open().
  static std::shared_ptr<const PickleFile> open(const std::string& path);
  /// The same of bytes in memory, which must outlive it; `path` names them in messages.
  static std::shared_ptr<const PickleFile> read(std::string_view bytes, const std::string& path);

  /// Whether the bytes of a file begin as a pickle or as a zip, and are no safetensors file.
  static bool recognises(std::string_view bytes);
  /// The same of a file. Throws as MappedFile::open().
  static bool recognises_file(const std::string& path);

 private:
  PickleFile() = default;
};

}  // namespace drm
