#include "tensor_io/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <unordered_set>

#include "common/failure.h"

namespace drm {

class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Json document() {
    auto value = parse(0);
    skip_space();
    if (at_ != text_.size()) fail("expected the end of the text");
    return value;
  }

 private:
  static constexpr int kDepth = 64;  // recursion is bounded, so that no file can exhaust the stack

  [[noreturn]] void fail(const std::string& what) const {
    const auto before = text_.substr(0, std::min(at_, text_.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto newline = before.rfind('\n');
    const auto column = newline == std::string_view::npos ? before.size() + 1 : before.size() - newline;
    throw Failure(Code::BadFile,
                  "[json] " + where_ + ", line " + std::to_string(line) + ", column " + std::to_string(column) + ": " +
                      what + "; the file is damaged or no JSON",
                  {{"file", where_}, {"line", std::to_string(line)}, {"column", std::to_string(column)}});
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  void expect(char c) {
    skip_space();
    if (peek() != c || at_ >= text_.size()) fail(std::string("expected '") + c + "', found " + here());
    ++at_;
  }

  std::string here() const {
    if (at_ >= text_.size()) return "the end";
    const auto c = static_cast<unsigned char>(text_[at_]);
    return c >= 0x20 && c < 0x7f ? std::string("'") + text_[at_] + "'" : "byte " + std::to_string(c);
  }

  bool word(const char* w) {
    const std::string_view expected(w);
    if (text_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    return true;
  }

  Json parse(int depth) {
    if (depth > kDepth) fail("expected at most " + std::to_string(kDepth) + " nested levels");
    skip_space();
    Json j;
    switch (peek()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        j.kind_ = Json::Kind::String;
        j.string_ = string();
        return j;
      case 't':
        if (!word("true")) fail("expected true");
        j.kind_ = Json::Kind::Bool;
        j.bool_ = true;
        return j;
      case 'f':
        if (!word("false")) fail("expected false");
        j.kind_ = Json::Kind::Bool;
        return j;
      case 'n':
        if (!word("null")) fail("expected null");
        return j;
      default:
        return number();
    }
  }

  Json object(int depth) {
    Json j;
    j.kind_ = Json::Kind::Object;
    expect('{');
    std::unordered_set<std::string> seen;
    skip_space();
    if (peek() == '}') {
      ++at_;
      return j;
    }
    for (;;) {
      skip_space();
      if (peek() != '"') fail("expected a key in quotes, found " + here());
      auto key = string();
      if (!seen.insert(key).second) fail("key \"" + key + "\" appears twice");
      expect(':');
      auto value = parse(depth + 1);
      j.members_.emplace_back(std::move(key), std::move(value));
      skip_space();
      if (peek() == ',') {
        ++at_;
        continue;
      }
      expect('}');
      return j;
    }
  }

  Json array(int depth) {
    Json j;
    j.kind_ = Json::Kind::Array;
    expect('[');
    skip_space();
    if (peek() == ']') {
      ++at_;
      return j;
    }
    for (;;) {
      j.items_.push_back(parse(depth + 1));
      skip_space();
      if (peek() == ',') {
        ++at_;
        continue;
      }
      expect(']');
      return j;
    }
  }

  uint32_t hex4() {
    if (text_.size() - at_ < 4) fail("expected four hexadecimal digits");
    uint32_t v = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, v, 16);
    if (error != std::errc() || end != text_.data() + at_ + 4) fail("expected four hexadecimal digits");
    at_ += 4;
    return v;
  }

  static void append_utf8(std::string& to, uint32_t c) {
    if (c < 0x80)
      to += static_cast<char>(c);
    else if (c < 0x800)
      (to += static_cast<char>(0xc0 | c >> 6)) += static_cast<char>(0x80 | (c & 63));
    else if (c < 0x10000)
      ((to += static_cast<char>(0xe0 | c >> 12)) += static_cast<char>(0x80 | (c >> 6 & 63))) +=
          static_cast<char>(0x80 | (c & 63));
    else
      (((to += static_cast<char>(0xf0 | c >> 18)) += static_cast<char>(0x80 | (c >> 12 & 63))) +=
       static_cast<char>(0x80 | (c >> 6 & 63))) += static_cast<char>(0x80 | (c & 63));
  }

  void escape(std::string& to) {
    ++at_;  // the backslash
    const char c = peek();
    ++at_;
    switch (c) {
      case '"':
      case '\\':
      case '/':
        to += c;
        return;
      case 'b':
        to += '\b';
        return;
      case 'f':
        to += '\f';
        return;
      case 'n':
        to += '\n';
        return;
      case 'r':
        to += '\r';
        return;
      case 't':
        to += '\t';
        return;
      case 'u': {
        auto code = hex4();
        if (code >= 0xdc00 && code < 0xe000) fail("expected a character, found half a surrogate pair");
        if (code >= 0xd800 && code < 0xdc00) {
          if (!word("\\u")) fail("expected the second half of a surrogate pair");
          const auto low = hex4();
          if (low < 0xdc00 || low >= 0xe000) fail("expected the second half of a surrogate pair");
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        append_utf8(to, code);
        return;
      }
      default:
        --at_;
        fail("expected an escape sequence, found " + here());
    }
  }

  /// Length of the UTF-8 sequence at at_; fails when it is none (overlong forms and surrogates included).
  size_t utf8_length() const {
    const auto byte = [&](size_t i) {
      return at_ + i < text_.size() ? static_cast<unsigned char>(text_[at_ + i]) : 0u;
    };
    const auto follows = [&](size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
      return byte(i) >= low && byte(i) <= high;
    };
    const auto b = byte(0);
    if (b < 0x80) return 1;
    if (b >= 0xc2 && b <= 0xdf && follows(1)) return 2;
    if (b >= 0xe0 && b <= 0xef && follows(1, b == 0xe0 ? 0xa0 : 0x80, b == 0xed ? 0x9f : 0xbf) && follows(2)) return 3;
    if (b >= 0xf0 && b <= 0xf4 && follows(1, b == 0xf0 ? 0x90 : 0x80, b == 0xf4 ? 0x8f : 0xbf) && follows(2) &&
        follows(3))
      return 4;
    fail("expected UTF-8 text, found " + here());
  }

  std::string string() {
    ++at_;  // the quote
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) fail("expected the closing quote of a string, found the end");
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') {
        ++at_;
        return out;
      }
      if (c == '\\') {
        escape(out);
        continue;
      }
      if (c < 0x20) fail("expected an escape for a control character, found " + here());
      const auto n = utf8_length();
      out.append(text_.substr(at_, n));
      at_ += n;
    }
  }

  void digits() {
    if (peek() < '0' || peek() > '9') fail("expected a digit, found " + here());
    while (peek() >= '0' && peek() <= '9') ++at_;
  }

  Json number() {
    const auto begin = at_;
    if (peek() == '-') ++at_;
    if (peek() == '0')
      ++at_;
    else if (peek() >= '1' && peek() <= '9')
      digits();
    else
      fail("expected a value, found " + here());
    bool integer = true;
    if (peek() == '.') {
      integer = false;
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      integer = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    Json j;
    const auto* first = text_.data() + begin;
    const auto* last = text_.data() + at_;
    if (integer && std::from_chars(first, last, j.int_).ec == std::errc()) {
      j.kind_ = Json::Kind::Int;
      return j;
    }
    if (std::from_chars(first, last, j.double_).ec != std::errc() || !std::isfinite(j.double_)) {
      at_ = begin;
      fail("expected a number that a double can hold");
    }
    j.kind_ = Json::Kind::Double;
    return j;
  }

  std::string_view text_;
  const std::string& where_;
  size_t at_ = 0;
};

namespace {

const char* kind_name(Json::Kind k) {
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

[[noreturn]] void wrong_kind(const char* expected, Json::Kind found) {
  throw Failure(Code::BadFile, std::string("[json] expected ") + expected + ", found " + kind_name(found));
}

}  // namespace

Json Json::parse(std::string_view text, const std::string& where) { return JsonParser(text, where).document(); }

Json Json::read(const std::string& path) {
  constexpr std::streamoff kLargest = 64 << 20;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file)
    throw Failure(Code::BadFile,
                  "[json] " + path + ": expected a readable file, found none; check the path and its permissions",
                  {{"file", path}});
  const std::streamoff size = file.tellg();
  if (size < 0)
    throw Failure(Code::BadFile,
                  "[json] " + path + ": expected a file, found something that cannot be read (a folder?)",
                  {{"file", path}});
  if (size > kLargest)
    throw Failure(
        Code::BadFile,
        "[json] " + path + ": expected a JSON file of at most 64 MiB, found " + std::to_string(size) + " bytes",
        {{"file", path}});
  std::string text(static_cast<size_t>(size), '\0');
  file.seekg(0);
  if (size > 0 && !file.read(text.data(), size))
    throw Failure(Code::BadFile, "[json] " + path + ": could not be read to its end", {{"file", path}});
  return parse(text, path);
}

bool Json::as_bool() const {
  if (kind_ != Kind::Bool) wrong_kind("true or false", kind_);
  return bool_;
}
int64_t Json::as_int() const {
  if (kind_ != Kind::Int) wrong_kind("an integer", kind_);
  return int_;
}
double Json::as_double() const {
  if (kind_ == Kind::Int) return static_cast<double>(int_);
  if (kind_ != Kind::Double) wrong_kind("a number", kind_);
  return double_;
}
const std::string& Json::as_string() const {
  if (kind_ != Kind::String) wrong_kind("a text", kind_);
  return string_;
}
const std::vector<Json>& Json::items() const {
  if (kind_ != Kind::Array) wrong_kind("a list", kind_);
  return items_;
}
const std::vector<std::pair<std::string, Json>>& Json::members() const {
  if (kind_ != Kind::Object) wrong_kind("an object", kind_);
  return members_;
}
const Json* Json::find(std::string_view key) const {
  for (const auto& [name, value] : members_)
    if (name == key) return &value;
  return nullptr;
}

namespace {

[[noreturn]] void bad_field(const std::string& file, const char* key, const std::string& expected, const Json* found) {
  const auto what = !found               ? std::string("nothing")
                    : found->is_string() ? "\"" + found->as_string() + "\""
                    : found->is_int()    ? std::to_string(found->as_int())
                    : found->is_bool()   ? (found->as_bool() ? "true" : "false")
                                         : kind_name(found->kind());
  throw Failure(Code::BadConfig,
                std::string("[config] ") + key + " in " + file + ": expected " + expected + ", found " + what +
                    "; compare with the model's original config.json",
                {{"file", file}, {"key", key}, {"expected", expected}, {"found", what}});
}

/// The member, or nullptr when it is absent or null.
const Json* present(const Json& object, const char* key) {
  const auto* value = object.find(key);
  return value && !value->is_null() ? value : nullptr;
}

}  // namespace

ConfigReader::ConfigReader(const Json& object, std::string file) : object_(&object), file_(std::move(file)) {
  if (!object.is_object())
    throw Failure(Code::BadConfig, "[config] " + file_ + ": expected a JSON object, found " + kind_name(object.kind()),
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
  return present(*object_, key) ? integers(key) : otherwise;
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
void ConfigReader::expect(const char* key, const std::string& only) const {
  const auto* value = present(*object_, key);
  if (value && (!value->is_string() || value->as_string() != only))
    bad_field(file_, key, "\"" + only + "\", the only kind this program knows", value);
}
void ConfigReader::expect_flag(const char* key, bool only) const {
  const auto* value = present(*object_, key);
  if (value && (!value->is_bool() || value->as_bool() != only)) bad_field(file_, key, only ? "true" : "false", value);
}

std::string json_text(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
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
