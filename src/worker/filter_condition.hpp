// A condition taken apart: the conjunct that an index can answer, and the rest with its constants as parameters, so that
// conditions that differ in constants only are compiled once. Runs in the worker, in a FilterUnit, inside pg::call:
// everything may ereport. What it returns lives in the current memory context.
#pragma once

#include "pg/expression.hpp"

namespace plank::worker {

// `column = constant`, or one of several constants.
struct FilterKey {
	AttrNumber column;
	Oid op;  // column on the left
	Oid collation;
	Oid column_hash, constant_hash;  // functions
	Oid constant_type;
	int16 length;
	bool by_value;
	Datum* values;
	int count;
};

struct Condition {
	bool never;          // false or null for every row
	FilterKey* key;      // or null
	List* rest;          // conjuncts; NIL: true
	List* constants;     // Const*, for the parameters 1, 2, ... of `rest`
	char* identity;      // equal for equal rests
	Bitmapset* columns;  // attribute numbers in `rest`
};

// `condition` as parse_condition returns it; it is used up. `whole`: what the key says stays in `rest` too.
Condition* take_apart(Node* condition, bool whole);

}  // namespace plank::worker
