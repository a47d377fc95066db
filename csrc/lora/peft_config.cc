#include "lora/peft_config.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "common/failure.h"

namespace drm {
namespace {

[[noreturn]] void bad_config(const std::string& where, const std::string& what) {
  throw Failure(Code::BadFile, "[lora] " + where + ": " + what, {{"file", where}});
}

/// For comparing names that people write in several ways.
std::string normal(std::string_view text) {
  std::string s(text.substr(0, 100));
  for (auto& c : s) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c == '-' ? '_' : c;
  return s;
}

/// These begin with B A = 0 and leave the base as it is; what comes out of them is a plain LoRA.
constexpr const char* kPlainStarts[] = {"true",       "false", "default", "gaussian", "eva",
                                        "orthogonal", "mica",  "none",    "null"};
/// These begin with a part of the base's weights, which they take out of the base.
constexpr std::pair<const char*, const char*> kChangedBase[] = {{"pissa", "PiSSA"},     {"olora", "OLoRA"},
                                                                {"corda", "CorDA"},     {"loftq", "LoftQ"},
                                                                {"lora_ga", "LoRA-GA"}, {"loraga", "LoRA-GA"}};

[[noreturn]] void refuse_changed_base(const std::string& where, const std::string& key, const std::string& start) {
  std::string name;
  for (const auto& [begin, method] : kChangedBase)
    if (normal(start).starts_with(begin)) name = method;
  bad_config(
      where,
      key + ": expected an adapter of the base's own weights, found \"" + start.substr(0, 100) + "\": " +
          (name.empty() ? "an initialisation that this program does not know, and that may have changed the base"
                        : name + " changes the base's weights before it trains, and beside unchanged ones its "
                                 "adapter does something else") +
          "; save it again with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...), which "
          "gives a plain LoRA, or merge it into its base with PEFT");
}

void require_plain_start(const std::string& where, const std::string& key, const std::string& start) {
  if (std::find(std::begin(kPlainStarts), std::end(kPlainStarts), normal(start)) == std::end(kPlainStarts))
    refuse_changed_base(where, key, start);
}

bool says_something(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::Null:
      return false;
    case Json::Kind::Bool:
      return value.as_bool();
    case Json::Kind::String:
      return !value.as_string().empty();
    case Json::Kind::Array:
      return !value.items().empty();
    case Json::Kind::Object:
      return !value.members().empty();
    default:
      return true;
  }
}

/// "transformer.r" -> "transformer.", "r".
std::pair<std::string, std::string> split(const std::string& key) {
  const auto dot = key.rfind('.');
  return dot == std::string::npos ? std::pair(std::string(), key)
                                  : std::pair(key.substr(0, dot + 1), key.substr(dot + 1));
}

void require_plain(const Json& config, const std::string& where) {
  const auto not_plain = [&](const std::string& what) {
    bad_config(where, "expected a plain LoRA, found " + what.substr(0, 100) +
                          ", which this program does not apply; merge it with PEFT first");
  };
  std::set<std::string> started;  // components whose config says how their adapter began
  for (const auto& [key, value] : config.members())
    if (const auto [component, name] = split(key); name == "init_lora_weights" && !value.is_null())
      started.insert(component);
  for (const auto& [key, value] : config.members()) {
    const auto [component, name] = split(key);
    if (name == "peft_type" && value.is_string() && normal(value.as_string()) != "lora") not_plain(value.as_string());
    if (name == "init_lora_weights" && !value.is_null() && !value.is_bool())
      require_plain_start(where, key.substr(0, 100), value.is_string() ? value.as_string() : "no name");
    // use_rslora, use_dora, use_bdlora, and whatever PEFT adds to them.
    if (name.starts_with("use_") && says_something(value)) not_plain(name);
    for (const char* variant :
         {"kasa_config", "monteclora_config", "arrow_config", "alora_invocation_tokens", "layer_replication"})
      if (name == variant && says_something(value)) not_plain(name);
    // What init_lora_weights says comes first: PEFT leaves these in a config whose adapter it has made plain again.
    if (!started.contains(component))
      for (const char* method : {"loftq", "corda", "lora_ga"})
        if (name == std::string(method) + "_config" && says_something(value)) refuse_changed_base(where, name, method);
  }
}

double finite(const Json& value, const std::string& name, const std::string& where) {
  if (!value.is_number() || !std::isfinite(value.as_double()))
    bad_config(where, name.substr(0, 200) + ": expected a finite number");
  return value.as_double();
}

/// PEFT's patterns are regular expressions that match a name's end. All that people and diffusers write are names,
/// maybe from the beginning (^); a file's expression is not run here, since a hostile one may take forever.
std::string plain_pattern(const std::string& pattern, const std::string& where) {
  std::string plain;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size() && pattern[i + 1] == '.') continue;
    plain += pattern[i];
  }
  if (plain.ends_with('$')) plain.pop_back();
  if (plain.empty() || plain == "^" || plain.find_first_of("*+?()[]{}|\\$") != std::string::npos)
    bad_config(where, "alpha_pattern: expected ends of layers' names, found the regular expression " +
                          pattern.substr(0, 100) + "; save the adapter again with the names spelled out");
  return plain;
}

}  // namespace

PeftConfig::PeftConfig(const Json& config, const std::string& where) {
  if (!config.is_object()) bad_config(where, "expected PEFT's config, a JSON object");
  require_plain(config, where);
  const std::string component = "transformer.";
  const bool named = std::any_of(config.members().begin(), config.members().end(),
                                 [&](const auto& member) { return member.first.starts_with(component); });
  const auto find = [&](const char* key) {
    const auto* value = config.find((named ? component : "") + key);
    return value && !value->is_null() ? value : nullptr;
  };
  if (const auto* alpha = find("lora_alpha")) common_ = finite(*alpha, "lora_alpha", where);
  const auto* patterns = find("alpha_pattern");
  if (!patterns) return;
  if (!patterns->is_object()) bad_config(where, "alpha_pattern: expected an object from layer to alpha");
  size_t order = 0;
  for (const auto& [layer, alpha] : patterns->members()) {
    const auto name = plain_pattern(layer, where);
    const Pattern pattern{order++, finite(alpha, "alpha_pattern." + layer, where)};
    if (name[0] == '^')
      whole_.emplace(name.substr(1), pattern);
    else
      endings_.emplace(name, pattern);
  }
}

std::optional<double> PeftConfig::alpha_of(const std::string& layer) const {
  const Pattern* first = nullptr;
  const auto consider = [&](const auto& patterns, std::string_view name) {
    const auto it = patterns.find(name);
    if (it != patterns.end() && (!first || it->second.order < first->order)) first = &it->second;
  };
  consider(whole_, layer);
  for (size_t begin = 0; begin != std::string::npos;) {
    consider(endings_, std::string_view(layer).substr(begin));
    const auto dot = layer.find('.', begin);
    begin = dot == std::string::npos ? dot : dot + 1;
  }
  return first ? std::optional(first->alpha) : common_;
}

void require_unchanged_base(const std::string& text, const std::string& where) {
  // JSON, Python's repr, command lines: the value is the next word, whatever quotes it.
  const std::string key = "init_lora_weights";
  for (auto at = text.find(key); at != std::string::npos; at = text.find(key, at)) {
    at += key.size();
    const auto begin = text.find_first_not_of("\\\"'=: \t\r\n", at);
    if (begin == std::string::npos) return;
    const auto end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", begin);
    if (end != begin) require_plain_start(where, key, text.substr(begin, std::min(end - begin, size_t{100})));
  }
}

}  // namespace drm
