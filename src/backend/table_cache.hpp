// What the capture trigger needs to know of a table to print its rows: worked out once per session, forgotten when the
// catalog changes. Runs in ordinary sessions.
#pragma once

#include <cstdint>

#include "core/record.hpp"
#include "pg/session.hpp"

#include "backend/json_output.hpp"

struct Trigger;

namespace plank::backend {

// One column of the tracked table, as it stands in the table the trigger fires on (a partition may order its columns
// differently).
struct CapturedColumn {
	AttrNumber number;
	int16 length;
	bool by_value;
	const ValueOutput* output;
	const ValueOutput* text;  // null for most: see resolve_text_output
};

struct CapturedTable {
	Oid leaf;  // the table the trigger fires on
	Oid root;  // the tracked table
	bool valid;
	int columns;
	int texts;  // columns with `text`
	AttrNumber last_number;
	CapturedColumn* column;
	const char* shape;  // encoded, for the transaction's head
	uint32_t shape_length;
	MemoryContext memory;

	// The number of the shape in the transaction that used it last.
	mutable uint64_t used_in;
	mutable uint32_t used_as;
};

// What a trigger is for.
struct CapturedTrigger {
	Oid trigger;
	core::Tag tag;
	CapturedTable* table;
};

// The entry of `trigger` on `relation`, worked out when it is not known yet. It stays where it is as long as the session
// lives; what its table holds is good until the next call. Throws pg::Error.
const CapturedTrigger& find_captured(Relation relation, const Trigger& trigger);

}  // namespace plank::backend
