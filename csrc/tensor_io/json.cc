#include "tensor_io/json.h"

#include <algorithm>
#include <cstdio>

#include "common/failure.h"
#include "common/mapped_file.h"
#include "tensor_io/json_cursor.h"

namespace drm {

class JsonTree {
 public:
  JsonTree(std::string_view text, const std::string& where) : cursor_(text, where) {}

  Json document() {
    auto value = parse();
    cursor_.end();
    return value;
  }

 private:
  static constexpr int64_t kValues = 1'000'000;  // of some 40 bytes each, where a text may have one in two bytes

  Json parse() {
    if (++values_ > kValues) cursor_.fail("expected at most " + std::to_string(kValues) + " values");
    Json j;
    switch (cursor_.next()) {
      case Json::Kind::Null:
        cursor_.null();
        break;
      case Json::Kind::Bool:
        j.value_ = cursor_.boolean();
        break;
      case Json::Kind::String:
        j.value_ = cursor_.string();
        break;
      case Json::Kind::Array: {
        std::vector<Json> items;
        cursor_.array([&] { items.push_back(parse()); });
        j.value_ = std::move(items);
        break;
      }
      case Json::Kind::Object: {
        std::vector<Json::Member> members;
        cursor_.object([&](std::string&& key) {
          auto value = parse();
          members.emplace_back(std::move(key), std::move(value));
        });
        refuse_twins(members);
        j.value_ = std::move(members);
        break;
      }
      default:
        std::visit([&](auto number) { j.value_ = number; }, cursor_.number());
    }
    return j;
  }

  void refuse_twins(const std::vector<Json::Member>& members) const {
    std::vector<std::string_view> keys;
    keys.reserve(members.size());
    for (const auto& [key, value] : members) keys.push_back(key);
    std::sort(keys.begin(), keys.end());
    const auto twin = std::adjacent_find(keys.begin(), keys.end());
    if (twin != keys.end()) cursor_.fail("key \"" + std::string(twin->substr(0, 200)) + "\" appears twice");
  }

  JsonCursor cursor_;
  int64_t values_ = 0;
};

namespace {

[[noreturn]] void wrong_kind(const char* expected, Json::Kind found) {
  throw Failure(Code::BadFile, std::string("[json] expected ") + expected + ", found " + json_kind_name(found));
}

}  // namespace

const char* json_kind_name(Json::Kind k) {
  switch (k) {
    case Json::Kind::Null:
      return "null";
    case Json::Kind::Bool:
      return "true or false";
    case Json::Kind::Int:
      return "an integer";
    case Json::Kind::Double:
      return "a number";
    case Json::Kind::String:
      return "a text";
    case Json::Kind::Array:
      return "a list";
    case Json::Kind::Object:
      return "an object";
  }
  return "nothing";
}

Json Json::parse(std::string_view text, const std::string& where) { return JsonTree(text, where).document(); }

Json Json::read(const std::string& path) {
  constexpr size_t kLargest = 64 << 20;
  const auto file = MappedFile::open(path, "json", "a JSON file");
  auto text = file->bytes();
  if (text.size() > kLargest)
    throw Failure(
        Code::BadFile,
        "[json] " + path + ": expected a JSON file of at most 64 MiB, found " + std::to_string(text.size()) + " bytes",
        {{"file", path}});
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return parse(text, path);
}

bool Json::as_bool() const {
  if (!is_bool()) wrong_kind("true or false", kind());
  return std::get<bool>(value_);
}
int64_t Json::as_int() const {
  if (!is_int()) wrong_kind("an integer", kind());
  return std::get<int64_t>(value_);
}
double Json::as_double() const {
  if (is_int()) return static_cast<double>(as_int());
  if (kind() != Kind::Double) wrong_kind("a number", kind());
  return std::get<double>(value_);
}
const std::string& Json::as_string() const {
  if (!is_string()) wrong_kind("a text", kind());
  return std::get<std::string>(value_);
}
const std::vector<Json>& Json::items() const {
  if (!is_array()) wrong_kind("a list", kind());
  return std::get<std::vector<Json>>(value_);
}
const std::vector<Json::Member>& Json::members() const {
  if (!is_object()) wrong_kind("an object", kind());
  return std::get<std::vector<Member>>(value_);
}
const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [name, value] : members())
    if (name == key) return &value;
  return nullptr;
}

std::string json_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (u < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", u);
      out += code;
    } else
      out += c;
  }
  return out + "\"";
}

}  // namespace drm
