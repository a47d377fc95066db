// A model's config.json, field by field.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "tensor_io/json.h"

namespace drm {

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
  /// Which of them it asks for; absent or null: the first.
  std::string one_of(const char* key, const std::vector<std::string>& known) const;
  const std::string& file() const { return file_; }

 private:
  const Json* object_;
  std::string file_;
};

}  // namespace drm
