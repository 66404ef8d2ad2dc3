// The filter of plank.track: a condition over a table's columns, kept as WHEN conditions of its triggers. Runs in
// ordinary sessions. These may ereport: call them inside pg::call.
#pragma once

#include "pg/catalog.hpp"

namespace plank::backend {

// Parses `text` as one condition over the table's columns, names resolved in the caller's search_path. Refuses what a
// client could not mirror: subqueries, aggregates, set-returning and non-immutable functions, system columns.
Node* parse_filter(Relation relation, const char* text);

// A filter as SQL. `row` is the name that stands before each column (`new`, `old`), or null for bare columns.
char* print_filter(Node* filter, Oid relation, const char* row);

// The filter in a capture trigger's WHEN condition, over bare columns; null when it was not made by plank.track.
Node* filter_of_when(const char* when);

}  // namespace plank::backend
