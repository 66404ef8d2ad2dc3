// Functions of PostgreSQL's that a condition could keep the server busy with: what they take grows with the product of
// what they are given, or they build as much as they are told, and meanwhile they do not look whether they have been
// cancelled. So what they are given is looked at before they run. Runs in the worker, inside pg::call: may ereport.
#pragma once

#include "pg/expression.hpp"

namespace plank::worker {

// expression_planner for a condition. `text`: what it was parsed from.
Node* fold_condition(Node* condition, const char* text);

// Has a compiled condition look, too.
void guard_costs(ExprState* state);

}  // namespace plank::worker
