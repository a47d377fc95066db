#include "tensor_io/json_cursor.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "common/failure.h"
#include "tensor_io/utf8.h"

namespace drm {
namespace {

constexpr int kDepth = 64;  // callers recurse with the text: bounded, so that no file can exhaust the stack

void append_utf8(std::string& to, uint32_t c) {
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

/// Neither the end of a string, nor an escape, nor more than one byte.
bool is_plain(char c) {
  const auto u = static_cast<unsigned char>(c);
  return u >= 0x20 && u < 0x80 && c != '"' && c != '\\';
}

}  // namespace

void JsonCursor::fail(const std::string& what) const {
  const auto before = text_.substr(0, std::min(at_, text_.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto newline = before.rfind('\n');
  const auto column = newline == std::string_view::npos ? before.size() + 1 : before.size() - newline;
  throw Failure(Code::BadFile,
                "[json] " + where_ + ", line " + std::to_string(line) + ", column " + std::to_string(column) + ": " +
                    what + "; the file is damaged or no JSON",
                {{"file", where_}, {"line", std::to_string(line)}, {"column", std::to_string(column)}});
}

std::string JsonCursor::here() const {
  if (at_ >= text_.size()) return "the end";
  const auto c = static_cast<unsigned char>(text_[at_]);
  return c >= 0x20 && c < 0x7f ? std::string("'") + text_[at_] + "'" : "byte " + std::to_string(c);
}

void JsonCursor::skip_space() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
    ++at_;
}

bool JsonCursor::word(std::string_view expected) {
  if (text_.substr(at_, expected.size()) != expected) return false;
  at_ += expected.size();
  return true;
}

Json::Kind JsonCursor::next() {
  using Kind = Json::Kind;
  skip_space();
  switch (const char c = peek()) {
    case '{':
      return Kind::Object;
    case '[':
      return Kind::Array;
    case '"':
      return Kind::String;
    case 't':
    case 'f':
      return Kind::Bool;
    case 'n':
      return Kind::Null;
    default:
      if (c != '-' && c != 'N' && c != 'I' && (c < '0' || c > '9')) fail("expected a value, found " + here());
      return Kind::Double;
  }
}

void JsonCursor::null() {
  skip_space();
  if (!word("null")) fail("expected null, found " + here());
}

bool JsonCursor::boolean() {
  skip_space();
  if (word("true")) return true;
  if (!word("false")) fail("expected true or false, found " + here());
  return false;
}

bool JsonCursor::open(char first, char last) {
  skip_space();
  if (peek() != first) fail(std::string("expected '") + first + "', found " + here());
  if (++depth_ > kDepth) fail("expected at most " + std::to_string(kDepth) + " nested levels");
  ++at_;
  skip_space();
  if (peek() != last) return true;
  ++at_;
  --depth_;
  return false;
}

bool JsonCursor::more(char last) {
  skip_space();
  if (peek() == ',') {
    ++at_;
    return true;
  }
  if (peek() != last) fail(std::string("expected ',' or '") + last + "', found " + here());
  ++at_;
  --depth_;
  return false;
}

std::string JsonCursor::key() {
  skip_space();
  if (peek() != '"') fail("expected a key in quotes, found " + here());
  auto name = string();
  skip_space();
  if (peek() != ':') fail("expected ':', found " + here());
  ++at_;
  return name;
}

void JsonCursor::skip() {
  switch (next()) {
    case Json::Kind::Object:
      return object([&](std::string&&) { skip(); });
    case Json::Kind::Array:
      return array([&] { skip(); });
    case Json::Kind::String:
      string();
      return;
    case Json::Kind::Bool:
      boolean();
      return;
    case Json::Kind::Null:
      return null();
    default:
      number();
  }
}

void JsonCursor::end() {
  skip_space();
  if (at_ != text_.size()) fail("expected the end of the text, found " + here());
}

uint32_t JsonCursor::hex4() {
  uint32_t v = 0;
  const auto digits = text_.substr(std::min(at_, text_.size()), 4);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), v, 16);
  if (digits.size() < 4 || error != std::errc() || end != digits.data() + 4) fail("expected four hexadecimal digits");
  at_ += 4;
  return v;
}

void JsonCursor::escape(std::string& to) {
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

std::string JsonCursor::string() {
  skip_space();
  if (peek() != '"') fail("expected a text in quotes, found " + here());
  ++at_;
  std::string out;
  for (;;) {
    const auto begin = at_;
    while (at_ < text_.size() && is_plain(text_[at_])) ++at_;
    out.append(text_.substr(begin, at_ - begin));
    if (at_ >= text_.size()) fail("expected the closing quote of a string, found the end");
    if (text_[at_] == '"') {
      ++at_;
      return out;
    }
    if (text_[at_] == '\\') {
      escape(out);
      continue;
    }
    if (static_cast<unsigned char>(text_[at_]) < 0x20)
      fail("expected an escape for a control character, found " + here());
    const auto n = utf8_length(text_, at_);
    if (n == 0) fail("expected UTF-8 text, found " + here());
    out.append(text_.substr(at_, n));
    at_ += n;
  }
}

void JsonCursor::digits() {
  if (peek() < '0' || peek() > '9') fail("expected a digit, found " + here());
  while (peek() >= '0' && peek() <= '9') ++at_;
}

std::variant<int64_t, double> JsonCursor::number() {
  skip_space();
  const auto begin = at_;
  const bool negative = peek() == '-';
  if (negative) ++at_;
  if (word("Infinity"))
    return negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  if (!negative && word("NaN")) return std::numeric_limits<double>::quiet_NaN();
  if (peek() == '0')
    ++at_;
  else
    digits();
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
  const auto *first = text_.data() + begin, *last = text_.data() + at_;
  int64_t whole = 0;
  if (integer && std::from_chars(first, last, whole).ec == std::errc()) return whole;
  double value = 0;
  if (std::from_chars(first, last, value).ec != std::errc() || !std::isfinite(value)) {
    at_ = begin;
    fail("expected a number that a double can hold");
  }
  return value;
}

}  // namespace drm
