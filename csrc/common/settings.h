// What settings of a spec are, whoever reads or prints them: see each_setting() in train/spec.h.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "common/failure.h"

namespace drm {

/// Throws Failure(BadRequest) naming the setting when a text is none of its choices.
class SettingsCheck {
 public:
  explicit SettingsCheck(std::string where) : where_(std::move(where)) {}
  template <class T>
  void operator()(const char*, const T&) const {}
  template <class T>
  void optional(const char*, const T&) const {}
  void operator()(const char* name, const std::string& value, std::initializer_list<const char*> choices) const {
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) return;
    std::string known;
    for (const auto* choice : choices) known += (known.empty() ? "" : ", ") + std::string(choice);
    throw Failure(Code::BadRequest, "[" + where_ + "] " + name + ": expected one of " + known + ", found " + value);
  }

 private:
  std::string where_;
};
template <class Spec>
void check_settings(Spec spec, const std::string& where) {
  each_setting(spec, SettingsCheck(where));
}

/// Collects "l1=1 l2=1 ...".
class SettingsPrinter {
 public:
  void operator()(const char* name, const std::vector<std::string>& values) {
    std::string joined;
    for (const auto& value : values) joined += (joined.empty() ? "" : ",") + value;
    put(name, joined);
  }
  template <class T>
  void operator()(const char* name, const T& value) {
    if constexpr (std::is_same_v<T, bool>)
      put(name, value ? "true" : "false");
    else
      put(name, value);
  }
  template <class T>
  void optional(const char* name, const T& value) {
    (*this)(name, value);
  }
  void operator()(const char* name, const std::string& value, std::initializer_list<const char*>) { put(name, value); }
  std::string text() const { return text_.str(); }

 private:
  template <class T>
  void put(const char* name, const T& value) {
    text_ << (text_.tellp() > 0 ? " " : "") << name << "=" << value;
  }
  std::ostringstream text_;
};
/// All settings of a spec, for messages.
template <class Spec>
std::string settings_text(Spec spec) {
  SettingsPrinter printer;
  each_setting(spec, printer);
  return printer.text();
}

}  // namespace drm
