// From a condition's text to an expression that may be run. Runs in the worker, in a FilterUnit, inside pg::call: it may
// ereport. What it returns lives in the current memory context.
#pragma once

#include "pg/expression.hpp"

namespace plank::worker {

struct FilterSource {
	Relation relation;
	const char* text;      // in the database's encoding
	const bool* captured;  // by attribute number - 1: whether changes carry the column
	Oid role;              // whose column privileges count
	Size most_constants;   // bytes
};

// Checked and folded. Columns are Vars of relation 1.
Node* parse_condition(const FilterSource& source);

}  // namespace plank::worker
