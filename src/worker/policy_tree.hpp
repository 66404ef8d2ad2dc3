// From a table's row security to one expression for one identity. Runs in the worker, in a FilterUnit, as the identity's
// role, inside pg::call: everything may ereport. What it returns lives in the current memory context.
#pragma once

#include "pg/expression.hpp"

namespace plank::worker {

struct PolicySource {
	Relation relation;
	const bool* captured;  // by attribute number - 1: whether changes carry the column
	const char* role_name;
	const char* claims;   // JSON: what request.jwt.claims says
	Size most_constants;  // bytes
};

struct PolicyTree {
	Node* condition;  // columns are Vars of relation 1
	// Holds what is asked of the session when it runs: a function that may read settings, a subquery.
	bool reads_session;
	bool has_subquery;
	Bitmapset* columns;  // attribute numbers that it looks at, in subqueries too
};

// The policies that apply to the current user as PostgreSQL joins them, untouched; null when no row security applies.
Node* policies_of(Relation relation);

// The same as text, together with what else decides what it means: the definitions of its functions. Equal as long as
// nothing has changed for anybody with the role.
char* definition_of(Node* policies);

// What of it an identity's claims and role decide is decided; what is constant is folded. Refuses (0A000) what cannot be
// judged on a change.
PolicyTree* tree_for(Node* policies, PolicySource source);
// Whether an error since the last call came from tree_for itself: then its text tells nothing but what a policy uses.
bool take_policy_refusal() noexcept;
// Counts what this process hears of: what was compiled with another number may call functions that are others by now.
uint64_t function_changes();

}  // namespace plank::worker
