#include "tensor_io/key_names.h"

#include <algorithm>

namespace drm {

bool any_starts(const std::vector<std::string>& names, const std::string& prefix) {
  const auto it = std::lower_bound(names.begin(), names.end(), prefix);  // names are sorted
  return it != names.end() && it->rfind(prefix, 0) == 0;
}

KeyReading plain_keys(const std::vector<std::string>& names, const std::string& prefix, const char* spelling) {
  KeyReading r{spelling, {}};
  for (const auto& name : names)
    if (name.rfind(prefix, 0) == 0) r.tensors.push_back({name.substr(prefix.size()), {name}});
  return r;
}

KeyReading translated_keys(const std::vector<std::string>& names, const std::string& prefix, const char* spelling,
                           const std::function<std::vector<Translated>(const std::string&)>& translate) {
  KeyReading r{spelling, {}};
  for (const auto& name : names) {
    if (name.rfind(prefix, 0) != 0) continue;
    auto parts = translate(name);
    if (parts.empty()) parts.push_back({name, {name}});
    r.tensors.insert(r.tensors.end(), parts.begin(), parts.end());
  }
  return r;
}

std::optional<std::pair<int64_t, std::string>> numbered(const std::string& key, const std::string& head) {
  if (key.rfind(head, 0) != 0) return std::nullopt;
  const auto dot = key.find('.', head.size());
  if (dot == std::string::npos || dot == head.size() || dot - head.size() > 6) return std::nullopt;
  const auto digits = key.substr(head.size(), dot - head.size());
  if (digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return std::pair(std::stoll(digits), key.substr(dot + 1));
}

int64_t count_numbered(const std::vector<std::string>& keys, const std::string& head) {
  int64_t count = 0;
  for (const auto& key : keys)
    if (const auto n = numbered(key, head)) count = std::max(count, n->first + 1);
  return count;
}

std::pair<std::string, std::string> stem_and_parameter(const std::string& key) {
  const auto dot = key.rfind('.');
  return dot == std::string::npos ? std::pair(key, std::string()) : std::pair(key.substr(0, dot), key.substr(dot));
}

}  // namespace drm
