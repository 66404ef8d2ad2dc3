// Writing JSON text. Reading it is jansson's work. Runs in every process. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string>
#include <string_view>

namespace plank::core {

// Appends `text` (valid UTF-8) as a JSON string with its quotes.
void append_json_string(std::string& out, std::string_view text);

// Appends `text` as a JSON string, or null when it is empty.
void append_json_string_or_null(std::string& out, std::string_view text);

// True when `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool is_utf8(std::string_view text) noexcept;

// Puts U+FFFD in place of every byte that is not part of well-formed UTF-8.
void replace_invalid_utf8(std::string& text);

// Appends microseconds since 2000-01-01 00:00 UTC (PostgreSQL's epoch) as "2026-11-22T14:05:00.123456Z", with quotes.
void append_json_time(std::string& out, int64_t microseconds);

}  // namespace plank::core
