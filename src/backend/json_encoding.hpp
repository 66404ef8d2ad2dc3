// Text of any database encoding as valid UTF-8. Runs in ordinary sessions, inside pg::call; may ereport on out of
// memory only, never for what the text holds.
#pragma once

#include <cstddef>

#include "pg/values.hpp"

namespace plank::backend {

// U+FFFD in UTF-8: stands for each byte that is not part of valid text.
inline constexpr char kReplacement[] = "\xEF\xBF\xBD";
inline constexpr size_t kReplacementLength = 3;

// Whether text in the database's encoding can go out as it is: valid UTF-8 without NUL.
bool is_clean_utf8(const char* text, size_t length);

// Converts text in the database's encoding and hands it to `emit` in pieces of valid UTF-8 without NUL.
void append_as_utf8(StringInfo out, const char* text, size_t length,
                    void (*emit)(StringInfo out, const char* utf8, size_t length));

}  // namespace plank::backend
