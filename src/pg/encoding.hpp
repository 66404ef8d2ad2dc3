// Text between the database's encoding and UTF-8. Runs in sessions and in the worker.
#pragma once

#include <string>

#include "pg/postgres.hpp"

namespace plank::pg {

// The text in UTF-8, in CurrentMemoryContext or `text` itself. What cannot be converted does not fail anybody's commit: it
// comes out with a question mark for each byte beyond ASCII, and so does everything outside a transaction, where
// PostgreSQL cannot look conversions up. May ereport on out of memory.
char* utf8_of(const char* text);

// The same as a string. Throws Error.
std::string to_utf8(const char* text);
// Text in the database's encoding. Characters that it does not have throw.
std::string from_utf8(const std::string& text);

}  // namespace plank::pg
