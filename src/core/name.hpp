// Table names as clients write them: SQL identifier syntax, the way `regclass` reads it.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <optional>
#include <string>
#include <string_view>

namespace plank::core {

struct QualifiedName {
	std::string schema;  // "public" when none was written
	std::string name;
};

// Null when `text` is no table name: an empty part, an unclosed quote, more than two parts.
std::optional<QualifiedName> parse_table_name(std::string_view text);

}  // namespace plank::core
