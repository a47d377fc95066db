#include "tensor_io/config_reader.h"

#include <algorithm>
#include <cmath>

#include "common/failure.h"

namespace drm {
namespace {

[[noreturn]] void bad_field(const std::string& file, const char* key, const std::string& expected, const Json* found) {
  const auto what = !found               ? std::string("nothing")
                    : found->is_string() ? "\"" + found->as_string() + "\""
                    : found->is_int()    ? std::to_string(found->as_int())
                    : found->is_bool()   ? (found->as_bool() ? "true" : "false")
                                         : json_kind_name(found->kind());
  throw Failure(Code::BadConfig,
                std::string("[config] ") + key + " in " + file + ": expected " + expected + ", found " + what +
                    "; compare with the model's original config.json",
                {{"file", file}, {"key", key}, {"expected", expected}, {"found", what}});
}

/// The member, or nullptr where it is not stated: absent, null, or the NaN or Infinity of Python's json.
const Json* present(const Json& object, const char* key) {
  const auto* value = object.find(key);
  return value && !value->is_null() && (!value->is_number() || std::isfinite(value->as_double())) ? value : nullptr;
}

}  // namespace

ConfigReader::ConfigReader(const Json& object, std::string file) : object_(&object), file_(std::move(file)) {
  if (!object.is_object())
    throw Failure(Code::BadConfig,
                  "[config] " + file_ + ": expected a JSON object, found " + json_kind_name(object.kind()),
                  {{"file", file_}});
}

ConfigReader ConfigReader::read(const std::string& path, std::shared_ptr<Json>& keep) {
  keep = std::make_shared<Json>(Json::read(path));
  return ConfigReader(*keep, path);
}

ConfigReader ConfigReader::section(const char* key) const {
  const auto* value = present(*object_, key);
  if (!value || !value->is_object()) bad_field(file_, key, "an object", value);
  return ConfigReader(*value, file_ + ": " + key);
}

int64_t ConfigReader::integer(const char* key) const {
  const auto* value = present(*object_, key);
  if (!value || !value->is_int()) bad_field(file_, key, "an integer", value);
  return value->as_int();
}
int64_t ConfigReader::integer(const char* key, int64_t otherwise) const {
  return present(*object_, key) ? integer(key) : otherwise;
}
double ConfigReader::number(const char* key) const {
  const auto* value = present(*object_, key);
  if (!value || !value->is_number()) bad_field(file_, key, "a number", value);
  return value->as_double();
}
double ConfigReader::number(const char* key, double otherwise) const {
  return present(*object_, key) ? number(key) : otherwise;
}
bool ConfigReader::boolean(const char* key, bool otherwise) const {
  const auto* value = present(*object_, key);
  if (!value) return otherwise;
  if (!value->is_bool()) bad_field(file_, key, "true or false", value);
  return value->as_bool();
}
std::string ConfigReader::string(const char* key, const std::string& otherwise) const {
  const auto* value = present(*object_, key);
  if (!value) return otherwise;
  if (!value->is_string()) bad_field(file_, key, "a text", value);
  return value->as_string();
}
std::vector<int64_t> ConfigReader::integers(const char* key) const {
  const auto* value = present(*object_, key);
  if (!value || !value->is_array()) bad_field(file_, key, "a list of integers", value);
  std::vector<int64_t> all;
  for (const auto& item : value->items()) {
    if (!item.is_int()) bad_field(file_, key, "a list of integers", &item);
    all.push_back(item.as_int());
  }
  return all;
}
std::vector<int64_t> ConfigReader::integers(const char* key, std::vector<int64_t> otherwise) const {
  if (!present(*object_, key)) return otherwise;
  return integers(key);
}
std::vector<std::string> ConfigReader::strings(const char* key, std::vector<std::string> otherwise) const {
  const auto* value = present(*object_, key);
  if (!value) return otherwise;
  if (!value->is_array()) bad_field(file_, key, "a list of texts", value);
  std::vector<std::string> all;
  for (const auto& item : value->items()) {
    if (!item.is_string()) bad_field(file_, key, "a list of texts", &item);
    all.push_back(item.as_string());
  }
  return all;
}
void ConfigReader::expect(const char* key, const std::string& only) const { one_of(key, {only}); }
std::string ConfigReader::one_of(const char* key, const std::vector<std::string>& known) const {
  const auto* value = present(*object_, key);
  if (!value) return known.front();
  if (value->is_string() && std::find(known.begin(), known.end(), value->as_string()) != known.end())
    return value->as_string();
  std::string expected = "\"" + known.front() + "\"";
  for (size_t i = 1; i < known.size(); ++i) expected += " or \"" + known[i] + "\"";
  bad_field(file_, key, expected + ", the only kind" + (known.size() > 1 ? "s" : "") + " this program knows", value);
}
void ConfigReader::expect_flag(const char* key, bool only) const {
  const auto* value = present(*object_, key);
  if (value && (!value->is_bool() || value->as_bool() != only)) bad_field(file_, key, only ? "true" : "false", value);
}

}  // namespace drm
