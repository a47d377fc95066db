// Parts of messages: what was found, in words that fit on a line.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace drm {

/// Of what another library says in many lines.
inline std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// A name that a file states, which may be of any length.
inline std::string shown(const std::string& name) { return name.size() <= 200 ? name : name.substr(0, 200) + " ..."; }

/// "(2, 16, 64, 64)".
inline std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s = "(";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + ")";
}

}  // namespace drm
