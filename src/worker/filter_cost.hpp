// Folding of conditions that looks at costly calls before it runs them (pg/costly_calls.hpp). Runs in the worker, inside
// pg::call: may ereport.
#pragma once

#include "pg/expression.hpp"

namespace plank::worker {

// expression_planner for a condition. `text`: what it was parsed from.
Node* fold_condition(Node* condition, const char* text);

}  // namespace plank::worker
