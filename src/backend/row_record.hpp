// A row's part of a change's record (core/record.hpp): its columns as JSON, what an update changed, and the texts beside
// them. Runs in ordinary sessions, inside pg::call with OutputSettings around it: everything may ereport.
#pragma once

#include <cstdint>

#include "backend/table_cache.hpp"

namespace plank::backend {

// Makes memory that is kept between rows ready for another one; gives it back when a row made it large.
void prepare_scratch(StringInfo scratch);

void append_varint(StringInfo out, uint64_t value);

// `before`: the row that an update replaced, else null. Both slots have their columns.
void append_row(StringInfo out, const CapturedTable& table, TupleTableSlot* before, TupleTableSlot* row);

}  // namespace plank::backend
