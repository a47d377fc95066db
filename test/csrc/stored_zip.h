// A zip archive of members that are stored as they are, made by hand: what torch.save would not write.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace drm::test {

using namespace std::string_literals;

inline uint32_t crc32(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

/// Little-endian.
inline std::string number(uint64_t n, size_t width) {
  std::string out;
  for (size_t i = 0; i < width; ++i) out += static_cast<char>(n >> 8 * i & 0xff);
  return out;
}

struct ZipForm {
  bool zip64 = false;       // sizes and offsets in fields of 64 bits
  bool descriptor = false;  // sizes behind the data
  uint16_t method = 0, flags = 0;
};

inline std::string stored_zip(const std::vector<std::pair<std::string, std::string>>& members,
                              const ZipForm& form = {}) {
  std::string out, directory;
  const auto flags = static_cast<uint16_t>(form.flags | (form.descriptor ? 8 : 0));
  const auto sizes = [&](uint64_t n) { return form.zip64 ? number(0xffffffff, 4) : number(n, 4); };
  for (const auto& [name, bytes] : members) {
    const auto header = out.size();
    const auto about = number(45, 2) + number(flags, 2) + number(form.method, 2) + number(0, 4);
    const auto checksum = number(crc32(bytes), 4);
    const auto stated = form.descriptor ? std::string(12, '\0') : checksum + sizes(bytes.size()) + sizes(bytes.size());
    const auto local =
        form.zip64 ? number(1, 2) + number(16, 2) + number(bytes.size(), 8) + number(bytes.size(), 8) : std::string();
    out += "PK\x03\x04" + about + stated + number(name.size(), 2) + number(local.size(), 2) + name + local + bytes;
    const size_t width = form.zip64 ? 8 : 4;
    if (form.descriptor) out += "PK\x07\x08" + checksum + number(bytes.size(), width) + number(bytes.size(), width);
    const auto extra = form.zip64 ? number(1, 2) + number(24, 2) + number(bytes.size(), 8) + number(bytes.size(), 8) +
                                        number(header, 8)
                                  : std::string();
    directory += "PK\x01\x02"s + number(45, 2) + about + checksum + sizes(bytes.size()) + sizes(bytes.size()) +
                 number(name.size(), 2) + number(extra.size(), 2) + number(0, 2) + number(0, 2) + number(0, 2) +
                 number(0, 4) + sizes(header) + name + extra;
  }
  const auto begin = out.size(), end = begin + directory.size(), n = members.size();
  out += directory;
  if (form.zip64)
    out += "PK\x06\x06"s + number(44, 8) + number(45, 2) + number(45, 2) + number(0, 4) + number(0, 4) + number(n, 8) +
           number(n, 8) + number(directory.size(), 8) + number(begin, 8) + "PK\x06\x07"s + number(0, 4) +
           number(end, 8) + number(1, 4);
  const auto count = form.zip64 ? number(0xffff, 2) : number(n, 2);
  return out + "PK\x05\x06"s + number(0, 4) + count + count + sizes(directory.size()) + sizes(begin) + number(0, 2);
}

}  // namespace drm::test
