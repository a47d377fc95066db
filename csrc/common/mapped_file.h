// A file's bytes in memory, read from disk page by page when they are looked at.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace drm {

class MappedFile {
 public:
  /// `where` is the tag of messages ("load"), `what` was expected ("a safetensors file"). Throws Failure: BadFile when
  /// there is no such file, or it may not be read or is a folder; OutOfMemory when there is no room to map it;
  /// Environment when this process may open no more files; Disk when the disk fails.
  static std::shared_ptr<const MappedFile> open(const std::string& path, const char* where, const char* what);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {static_cast<const char*>(mapping_), size_}; }
  /// Gives the memory of these bytes back: they are read again when looked at again.
  void release(const void* from, size_t bytes) const;

 private:
  MappedFile() = default;
  void* mapping_ = nullptr;
  size_t size_ = 0;
};

}  // namespace drm
