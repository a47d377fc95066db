// Texts that files state must be UTF-8, since they become JSON and lines on a terminal.
#pragma once
#include <cstddef>
#include <string_view>

namespace drm {

/// Length of the sequence at `at`; 0 when it is none (overlong forms and surrogates included).
size_t utf8_length(std::string_view text, size_t at);
/// All of it.
bool is_utf8(std::string_view text);

}  // namespace drm
