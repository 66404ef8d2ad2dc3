// Typed values out of a change's columns: exactly the value that the row had. Runs in the worker, in a FilterUnit, inside
// pg::call: everything may ereport.
#pragma once

#include "core/row.hpp"

#include "pg/expression.hpp"
#include "pg/value_text.hpp"

namespace plank::worker {

// How values of a column's type are read.
struct ColumnInput {
	Oid type = InvalidOid;  // domains are stripped: their rows have been checked
	pg::TextNeed need = pg::TextNeed::never;
	FmgrInfo function;
	Oid parameter = InvalidOid;
	Oid declared = InvalidOid;
	uint64_t checked_at = 0;  // constraint_changes when the type was found safe to read
};

// Caches of the input function live in `memory`.
void resolve_input(ColumnInput* input, Oid type, MemoryContext memory);

// A value that is not null, in the current memory context.
Datum read_value(ColumnInput* input, const core::ColumnImage& image);

}  // namespace plank::worker
