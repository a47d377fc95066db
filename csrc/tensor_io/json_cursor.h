// A JSON text read from its beginning to its end, value by value, of which nothing is kept: for what may be large, such
// as the header of a safetensors file. Strict, depth bounded; a key that appears twice is for the caller to notice.
#pragma once
#include <string>
#include <string_view>
#include <variant>

#include "tensor_io/json.h"

namespace drm {

class JsonCursor {
 public:
  /// Both must outlive the cursor. `where` names the source in error messages.
  JsonCursor(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  /// What the next value is by its first character; a number is Double, whatever it turns out to be.
  Json::Kind next();
  // Each reads the next value, which must be of that kind. All throw Failure(BadFile) with line and column.
  void null();
  bool boolean();
  std::variant<int64_t, double> number();  // an integer where it is written as one and 64 bits hold it
  std::string string();
  /// Calls member(std::string&& key), which reads the value.
  template <class F>
  void object(F&& member) {
    if (!open('{', '}')) return;
    do member(key());
    while (more('}'));
  }
  /// Calls item(), which reads the value.
  template <class F>
  void array(F&& item) {
    if (!open('[', ']')) return;
    do item();
    while (more(']'));
  }
  /// Reads over a value of any kind.
  void skip();
  /// Nothing but space may follow.
  void end();

  [[noreturn]] void fail(const std::string& what) const;

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  std::string here() const;
  void skip_space();
  bool word(std::string_view expected);
  bool open(char first, char last);  // whether there is an item
  bool more(char last);
  std::string key();
  void escape(std::string& to);
  uint32_t hex4();
  void digits();

  std::string_view text_;
  const std::string& where_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace drm
