// Functions of PostgreSQL's that a client's condition could keep a process busy with: what they take grows with the product
// of what they are given, or they build as much as they are told, and meanwhile they do not look whether they have been
// cancelled. So what they are given is looked at before they run. Everything may ereport: call it inside pg::call.
#pragma once

#include "pg/expression_steps.hpp"

namespace plank::pg {

struct CostlyCall {
	PGFunction function;
	double most;  // of the first two arguments' sizes; 0: the second is how much to build
};

// Null for others.
const CostlyCall* find_costly_call(PGFunction function);

// What the call takes of the time that there is: 1 is all of it, and more is refused (53400). `position`: of the call in
// the condition; 0: none.
double check_cost(const CostlyCall& costly, const NullableDatum& first, const NullableDatum& second, int position);

// Has a compiled expression, or all conditions of a plan that has been started, look before they call.
void guard_costs(ExprState* state);
void guard_costs(PlanState* plan);

}  // namespace plank::pg
