// A small strict JSON reader for configs and safetensors headers, which come from strangers: depth and size are
// bounded, duplicate keys are refused, numbers keep whether they were integers. libtorch ships no JSON library and the
// package registries that a build may use have no header-only one, hence our own.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace drm {

class Json {
 public:
  enum class Kind { Null, Bool, Int, Double, String, Array, Object };

  /// Parses one value; trailing spaces are allowed, anything else after it is an error.
  /// `where` names the source in error messages (a file path). Throws Failure(BadFile) with line and column.
  static Json parse(std::string_view text, const std::string& where);
  /// Reads and parses a file of at most 64 MiB. Throws Failure(BadFile).
  static Json read(const std::string& path);

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::Null; }
  bool is_object() const { return kind_ == Kind::Object; }
  bool is_array() const { return kind_ == Kind::Array; }
  bool is_string() const { return kind_ == Kind::String; }
  bool is_int() const { return kind_ == Kind::Int; }
  bool is_number() const { return kind_ == Kind::Int || kind_ == Kind::Double; }
  bool is_bool() const { return kind_ == Kind::Bool; }

  // Unchecked beyond the kind: asking for the wrong kind throws Failure(BadFile).
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;  // of an integer too
  const std::string& as_string() const;
  const std::vector<Json>& items() const;
  const std::vector<std::pair<std::string, Json>>& members() const;  // in file order

  /// The member of that name, or nullptr. nullptr too when this is no object.
  const Json* find(std::string_view key) const;

 private:
  Kind kind_ = Kind::Null;
  bool bool_ = false;
  int64_t int_ = 0;
  double double_ = 0;
  std::string string_;
  std::vector<Json> items_;
  std::vector<std::pair<std::string, Json>> members_;
  friend class JsonParser;
};

/// The text as a JSON string, quotes included.
std::string json_text(const std::string& text);

/// Typed access to a config file with errors that name file, field, expectation and finding (Failure(BadConfig)).
class ConfigReader {
 public:
  ConfigReader(const Json& object, std::string file);
  static ConfigReader read(const std::string& path, std::shared_ptr<Json>& keep);

  int64_t integer(const char* key) const;                     // required
  int64_t integer(const char* key, int64_t otherwise) const;  // absent or null: `otherwise`
  double number(const char* key) const;
  double number(const char* key, double otherwise) const;
  bool boolean(const char* key, bool otherwise) const;
  std::string string(const char* key, const std::string& otherwise) const;
  std::vector<int64_t> integers(const char* key) const;  // required
  std::vector<int64_t> integers(const char* key, std::vector<int64_t> otherwise) const;
  std::vector<std::string> strings(const char* key, std::vector<std::string> otherwise) const;
  /// An object inside this one, required; messages name it as "file: key".
  ConfigReader section(const char* key) const;
  /// Refuses a config that asks for something this program does not do.
  void expect(const char* key, const std::string& only) const;  // absent or null is fine
  void expect_flag(const char* key, bool only) const;
  const std::string& file() const { return file_; }

 private:
  const Json* object_;
  std::string file_;
};

}  // namespace drm
