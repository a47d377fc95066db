// How keys of weight files are read: each kind of model knows the spellings of its own tensors and says where in the
// files ours come from.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace drm {

/// How a tensor of ours is made of one in the file.
struct Source {
  std::string key;  // in the file
  enum class Form { Whole, Third, SwappedHalves, Squeezed, Transposed } form = Form::Whole;
  int64_t part = 0;  // Third: 0 query, 1 key, 2 value, along the first axis
};
struct Translated {
  std::string key;  // ours
  Source source;
};

/// What was found in some files: under which spelling, and where each tensor comes from.
struct KeyReading {
  std::string spelling;  // "diffusers", "sd3", "ldm", ...
  std::vector<Translated> tensors;
};
/// Reads the keys of all files together, which come sorted.
using KeyReader = std::function<KeyReading(const std::vector<std::string>& names)>;

bool any_starts(const std::vector<std::string>& sorted_names, const std::string& prefix);

/// Keys below `prefix` as they are, without it.
KeyReading plain_keys(const std::vector<std::string>& names, const std::string& prefix, const char* spelling);

/// Keys below `prefix` by `translate`. In a single file other components' keys are passed over; a key below the prefix
/// that no rule knows is kept under its own name, so that it is reported as unexpected.
KeyReading translated_keys(const std::vector<std::string>& names, const std::string& prefix, const char* spelling,
                           const std::function<std::vector<Translated>(const std::string& name)>& translate);

/// "joint_blocks.12.rest" after the head "joint_blocks." -> (12, "rest"); nothing when it is not of that form.
std::optional<std::pair<int64_t, std::string>> numbered(const std::string& key, const std::string& head);
/// How many numbers from 0 on come after that head.
int64_t count_numbered(const std::vector<std::string>& keys, const std::string& head);
/// "name.weight" -> ("name", ".weight").
std::pair<std::string, std::string> stem_and_parameter(const std::string& key);

}  // namespace drm
