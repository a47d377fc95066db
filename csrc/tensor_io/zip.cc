#include "tensor_io/zip.h"

#include <algorithm>
#include <array>

#include "common/failure.h"
#include "common/messages.h"

namespace drm {
namespace {

// The format's records, by the numbers they begin with, and the size of what is not of variable length.
constexpr uint32_t kLocalHeader = 0x04034b50, kEntry = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50, kDescriptor = 0x08074b50;
constexpr size_t kLocalHeaderBytes = 30, kEntryBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr uint16_t kZip64Field = 1;
constexpr uint32_t kIn64 = 0xffffffff;  // a number that stands in a zip64 record, since it needs more bits
constexpr uint16_t kIn64Short = 0xffff;

/// `bytes` (2, 4 or 8) of a little-endian number; the caller knows that they are there.
uint64_t number(std::string_view bytes, size_t at, size_t width) {
  uint64_t n = 0;
  for (size_t i = width; i-- > 0;) n = n << 8 | static_cast<unsigned char>(bytes[at + i]);
  return n;
}

[[noreturn]] void bad(const std::string& path, const std::string& what) {
  throw Failure(Code::BadFile, "[load] " + path + ": " + what, {{"file", path}});
}

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  bad(path, what + "; the file is damaged, fetch it again");
}

uint32_t crc32(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int bit = 0; bit < 8; ++bit) t[i] = t[i] >> 1 ^ (t[i] & 1 ? 0xedb88320u : 0);
    }
    return t;
  }();
  uint32_t crc = 0xffffffff;
  for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ crc >> 8;
  return ~crc;
}

/// Numbers of an entry that do not fit 32 bits stand in its zip64 field, in this order, those that fit left out.
void read_zip64_field(const std::string& path, const std::string& name, std::string_view extra,
                      ZipArchive::Member& member) {
  uint64_t* const numbers[] = {&member.size, &member.stored, &member.header};
  if (std::none_of(std::begin(numbers), std::end(numbers), [](const auto* n) { return *n == kIn64; })) return;
  while (extra.size() >= 4) {
    const auto id = number(extra, 0, 2), length = number(extra, 2, 2);
    extra.remove_prefix(4);
    if (length > extra.size()) break;
    if (id == kZip64Field) {
      size_t at = 0;
      for (auto* n : numbers) {
        if (*n != kIn64) continue;
        if (at + 8 > length) damaged(path, shown(name) + ": expected its size in the zip's directory, found a part");
        *n = number(extra, at, 8);
        at += 8;
      }
      return;
    }
    extra.remove_prefix(length);
  }
  damaged(path, shown(name) + ": expected its size in 64 bits in the zip's directory, found none");
}

/// Whether a member's data ends right: `rest` is all up to the next one, and empty but for sizes that were not known
/// when the data were written (a data descriptor; the form without its number at the front nobody writes any more).
bool ends_right(std::string_view rest, const ZipArchive::Member& member) {
  const bool described = member.flags & 8;
  if (!described || (rest.empty() && member.size == 0)) return rest.empty();
  if (rest.size() != 16 && rest.size() != 24) return false;
  const auto width = (rest.size() - 8) / 2;
  return number(rest, 0, 4) == kDescriptor && number(rest, 4, 4) == member.crc &&
         number(rest, 8, width) == member.stored && number(rest, 8 + width, width) == member.size;
}

}  // namespace

ZipArchive::Directory ZipArchive::find_directory() const {
  // It is the last record but for a comment of at most 65535 bytes, whose length it states.
  const auto earliest = bytes_.size() - std::min<size_t>(bytes_.size(), kEndBytes + 0xffff);
  for (auto at = bytes_.size() - std::min(bytes_.size(), kEndBytes) + 1; at-- > earliest;) {
    if (bytes_.size() - at < kEndBytes || number(bytes_, at, 4) != kEnd ||
        number(bytes_, at + 20, 2) != bytes_.size() - at - kEndBytes)
      continue;
    if (const auto part = number(bytes_, at + 4, 2), first = number(bytes_, at + 6, 2);
        part != first || (part != 0 && part != kIn64Short))
      bad(path_, "expected a zip in one piece, found a part of one; put its parts together");
    Directory directory{number(bytes_, at + 16, 4), number(bytes_, at + 12, 4), number(bytes_, at + 10, 2)};
    if (directory.begin == kIn64 || directory.bytes == kIn64 || directory.members == kIn64Short)
      read_zip64(at, directory);
    if (directory.begin > at || directory.bytes > at - directory.begin)
      damaged(path_, "expected the zip's directory inside the file, found it stated at byte " +
                         std::to_string(directory.begin) + " with " + std::to_string(directory.bytes) + " bytes");
    return directory;
  }
  bad(path_, "expected the zip's directory at its end, found none; the download is incomplete, fetch it again");
}

void ZipArchive::read_zip64(size_t end_record, Directory& directory) const {
  if (end_record < kLocator64Bytes || number(bytes_, end_record - kLocator64Bytes, 4) != kLocator64) return;
  const auto at = number(bytes_, end_record - kLocator64Bytes + 8, 8);
  if (at > end_record || end_record - at < kEnd64Bytes + kLocator64Bytes || number(bytes_, at, 4) != kEnd64)
    damaged(path_, "expected the zip's directory of 64 bits at byte " + std::to_string(at) + ", found other bytes");
  directory = {number(bytes_, at + 48, 8), number(bytes_, at + 40, 8), number(bytes_, at + 32, 8)};
}

ZipArchive::ZipArchive(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {
  const auto directory = find_directory();
  directory_begin_ = directory.begin;
  auto rest = bytes.substr(directory.begin, directory.bytes);
  for (uint64_t i = 0; i < directory.members; ++i) {
    const auto expect = [&](bool holds) {
      if (!holds)
        damaged(path, "expected " + std::to_string(directory.members) +
                          " entries in the zip's directory, found entry " + std::to_string(i) + " to be none");
    };
    expect(rest.size() >= kEntryBytes && number(rest, 0, 4) == kEntry);
    const auto name_bytes = number(rest, 28, 2), extra_bytes = number(rest, 30, 2), comment_bytes = number(rest, 32, 2);
    const auto whole = kEntryBytes + name_bytes + extra_bytes + comment_bytes;
    expect(rest.size() >= whole);
    std::string name(rest.substr(kEntryBytes, name_bytes));
    Member member{static_cast<uint16_t>(number(rest, 8, 2)),
                  static_cast<uint16_t>(number(rest, 10, 2)),
                  static_cast<uint32_t>(number(rest, 16, 4)),
                  number(rest, 42, 4),
                  number(rest, 20, 4),
                  number(rest, 24, 4)};
    read_zip64_field(path, name, rest.substr(kEntryBytes + name_bytes, extra_bytes), member);
    if (member.header > directory.begin || member.stored > directory.begin - member.header)
      damaged(path, shown(name) + ": expected its data before the zip's directory, found " +
                        std::to_string(member.stored) + " bytes stated at byte " + std::to_string(member.header));
    if (!members_.try_emplace(std::move(name), member).second)
      damaged(path, shown(rest.substr(kEntryBytes, name_bytes)) + ": expected once in the zip, found twice");
    headers_.push_back(member.header);
    rest.remove_prefix(whole);
  }
  std::sort(headers_.begin(), headers_.end());
}

std::string_view ZipArchive::bytes_of(const std::string& name) const {
  const auto it = members_.find(name);
  if (it == members_.end()) damaged(path_, "expected " + shown(name) + " in the zip, found no such member");
  const auto& member = it->second;
  if (member.flags & 1) bad(path_, shown(name) + ": expected it as it is, found it encrypted; unpack it, zip it again");
  if (member.method != 0 || member.stored != member.size)
    bad(path_, shown(name) + ": expected its bytes as they are, found them compressed (method " +
                   std::to_string(member.method) + "), which torch.save never does; save it again with torch.save");
  // A byte of a header that is wrong would move all of the data: they must fill what is left up to the next member.
  const auto next = std::upper_bound(headers_.begin(), headers_.end(), member.header);
  const auto whole = bytes_.substr(member.header, (next == headers_.end() ? directory_begin_ : *next) - member.header);
  if (whole.size() < kLocalHeaderBytes || number(whole, 0, 4) != kLocalHeader)
    damaged(path_,
            shown(name) + ": expected its header at byte " + std::to_string(member.header) + ", found other bytes");
  const auto name_bytes = number(whole, 26, 2), begin = kLocalHeaderBytes + name_bytes + number(whole, 28, 2);
  if (begin > whole.size() || member.size > whole.size() - begin ||
      !ends_right(whole.substr(begin + member.size), member))
    damaged(path_, shown(name) + ": expected " + std::to_string(member.size) +
                       " bytes up to the zip's next member, found another number");
  if (whole.substr(kLocalHeaderBytes, name_bytes) != name)
    damaged(path_, shown(name) + ": expected its name in its header, found " +
                       shown(whole.substr(kLocalHeaderBytes, name_bytes)));
  return whole.substr(begin, member.size);
}

std::string_view ZipArchive::checked_bytes_of(const std::string& name) const {
  const auto bytes = bytes_of(name);
  const auto stated = members_.find(name)->second.crc;
  if (stated != 0 && stated != crc32(bytes))
    damaged(path_, shown(name) + ": expected the checksum that the zip states, found another");
  return bytes;
}

}  // namespace drm
