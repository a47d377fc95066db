// What settings of a spec are, whoever reads or checks them: see each_setting() in train/spec.h.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>

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

}  // namespace drm
