// What the catalog says of a tracked table: who may be told of it and what its rows look like.
// Runs in sessions and in the worker, inside a transaction. Functions that take no lock say so; all throw pg::Error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pg/postgres.hpp"

extern "C" {
#include "utils/relcache.h"
}

namespace plank::pg {

// Where a value of a type holds bigint or numeric; the same three as core::Numbers.
enum class NumberPlace : uint8_t { none, scalar, nested };
NumberPlace number_place(Oid type);

struct ColumnDescription {
	std::string name;  // UTF-8
	std::string type;  // format_type's spelling, UTF-8
	Oid type_oid = InvalidOid;
	AttrNumber number = 0;
	NumberPlace numbers = NumberPlace::none;
	bool with_text = false;  // its JSON does not tell all values apart (pg/value_text.hpp)
};

struct TableDescription {
	Oid relation = InvalidOid;
	std::string name;  // "schema"."table" with quotes where needed, UTF-8
	std::vector<ColumnDescription> columns;
	std::vector<uint32_t> key;  // indexes into columns
};

// Describes an open relation. `columns`: text of a name[] as in the capture trigger's argument; empty for all. The key's
// columns are always part of it. Names that the table no longer has are passed over.
TableDescription describe_table(Relation relation, const char* columns);

// What `plank.track` was told, read from the relation's triggers that call `function`.
struct Tracking {
	bool tracked = false;
	std::string columns;  // text of a name[], or empty
	std::string notify;   // UTF-8
};
Tracking read_tracking(Relation relation, Oid function);

// OID of plank.capture(), or InvalidOid while the extension is missing. Cached until pg_proc changes.
Oid capture_function();

}  // namespace plank::pg
