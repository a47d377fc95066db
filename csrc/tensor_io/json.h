// JSON as a tree, for configs and indexes, which come from anywhere: depth and number of values are bounded, keys that
// appear twice are refused, numbers keep whether they were integers. What is too large for a tree is read with a
// JsonCursor. libtorch ships no JSON library and the package registries that a build may use have no header-only one,
// hence our own.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace drm {

class Json {
 public:
  enum class Kind { Null, Bool, Int, Double, String, Array, Object };
  using Member = std::pair<std::string, Json>;

  /// Parses one value; trailing spaces are allowed, anything else after it is an error. NaN, Infinity and -Infinity, as
  /// Python's json writes them, are numbers. `where` names the source in error messages (a file path).
  /// Throws Failure(BadFile) with line and column; for more than a million values, too.
  static Json parse(std::string_view text, const std::string& where);
  /// Reads and parses a file of at most 64 MiB, a byte order mark aside. Throws Failure(BadFile, or as open_file()).
  static Json read(const std::string& path);

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is_null() const { return kind() == Kind::Null; }
  bool is_object() const { return kind() == Kind::Object; }
  bool is_array() const { return kind() == Kind::Array; }
  bool is_string() const { return kind() == Kind::String; }
  bool is_int() const { return kind() == Kind::Int; }
  bool is_number() const { return kind() == Kind::Int || kind() == Kind::Double; }
  bool is_bool() const { return kind() == Kind::Bool; }

  // Unchecked beyond the kind: asking for the wrong kind throws Failure(BadFile).
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;  // of an integer too
  const std::string& as_string() const;
  const std::vector<Json>& items() const;
  const std::vector<Member>& members() const;  // in file order

  /// The member of that name, or nullptr. nullptr too when this is no object.
  const Json* find(std::string_view key) const;

 private:
  // In the order of Kind.
  std::variant<std::monostate, bool, int64_t, double, std::string, std::vector<Json>, std::vector<Member>> value_;
  friend class JsonTree;
};

/// For messages: "an integer".
const char* json_kind_name(Json::Kind kind);

/// The text as a JSON string, quotes included.
std::string json_text(const std::string& text);

}  // namespace drm
