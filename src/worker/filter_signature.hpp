// What makes two filters, two policies or two states of a table's row security one. Runs in the worker, inside pg::call:
// everything may ereport.
#pragma once

#include "worker/filter_table.hpp"

namespace plank::worker {

// A filter: its own condition after a policy, or after none.
void sign_filter(const Condition& condition, Oid role, const FilterTable& table, const Policy* policy,
                 Signature* signature);
// A policy over a table, as its role's row security is defined. `condition` null: it has subqueries, and `tree` is what
// counts.
void sign_policy(const PolicyTree& tree, const Condition* condition, Oid role, const char* claims,
                 const Signature& definition, Signature* signature);
void sign_text(const char* text, Signature* signature);

}  // namespace plank::worker
