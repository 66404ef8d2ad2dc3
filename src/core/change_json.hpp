// A change as the JSON members clients read. Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <string>

#include "core/record.hpp"

namespace plank::core {

// Appends `,"key":…` and, as the operation has them, `,"new":…`, `,"old":…` and `,"cause":"update"` (protocol.md rules 4
// to 6). `record` has been checked by read_body. `numbers_as_text`: bigint and numeric as strings.
void append_change_members(std::string& out, const Record& record, const Shape& shape, bool numbers_as_text);

// Appends `,"key":…` alone.
void append_key_member(std::string& out, const Record& record, const Shape& shape);

}  // namespace plank::core
