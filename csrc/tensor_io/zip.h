// The directory of a zip archive in memory, and its members where they are stored as they are: as torch.save writes
// them. Zip64 is read, members of unknown length when they were written (data descriptors) too, since only the
// directory counts; compression, encryption and archives in several parts are not.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace drm {

class ZipArchive {
 public:
  /// Reads the directory at the end of `bytes`, which must outlive this; `path` names them in messages. Memory: a small
  /// multiple of the directory's size. Throws Failure(BadFile): no directory, one that does not fit the bytes, members
  /// that end behind its beginning, two of one name.
  ZipArchive(std::string_view bytes, const std::string& path);

  struct Member {
    uint16_t flags = 0, method = 0;
    uint32_t crc = 0;
    uint64_t header = 0;  // where its local header begins
    uint64_t stored = 0, size = 0;
  };
  const std::map<std::string, Member, std::less<>>& members() const { return members_; }

  /// A member's bytes, of which only what stands around them is read. Throws Failure(BadFile): no such member, one that
  /// is compressed or encrypted, whose header is not where the directory says or of another name, or whose bytes do not
  /// end where the next member begins.
  std::string_view bytes_of(const std::string& name) const;
  /// The same with its checksum compared, so all of it is read. 0 is the checksum of files that torch.save wrote
  /// without.
  std::string_view checked_bytes_of(const std::string& name) const;

 private:
  struct Directory {
    uint64_t begin = 0, bytes = 0, members = 0;
  };
  Directory find_directory() const;
  void read_zip64(size_t end_record, Directory& directory) const;
  std::string_view bytes_;
  std::string path_;
  uint64_t directory_begin_ = 0;
  std::vector<uint64_t> headers_;  // where they begin, in order
  std::map<std::string, Member, std::less<>> members_;
};

}  // namespace drm
