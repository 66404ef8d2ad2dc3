// What a tracked table holds, as far as ALTER TABLE can change it without row changes: told apart by comparing what the
// catalog says before and after. Runs in ordinary sessions. These may ereport: call them inside pg::call.
#pragma once

#include "pg/catalog.hpp"

namespace plank::backend {

struct TableState {
	Oid root;
	const char* partitions;  // which tables hold its rows
	const char* storage;     // their files: a rewrite makes new ones
	const char* missing;     // columns whose values exist in the catalog only (ADD COLUMN with a default)
	const char* triggers;    // the capture triggers and when they fire
	int columns;
	const Oid* types;  // of the columns; InvalidOid where one was dropped
};

// The states of the tracked tables that an ALTER TABLE of `relation` can reach: the one it belongs to, and those among
// the tables that inherit from it. A List of TableState*.
List* states_around(Oid relation);
TableState* state_of(Oid root);

// Why what clients hold is void, or null when it is not.
const char* reason_for_reset(const TableState& before, const TableState& after);

// Resets for tables that are in both lists and whose state differs. Calls want(root, reason).
template <typename Want>
void compare_states(const List* before, const List* after, const Want& want)
{
	ListCell* earlier;
	ListCell* later;
	foreach (earlier, before) {
		const auto& then = *static_cast<const TableState*>(lfirst(earlier));
		foreach (later, after) {
			const auto& now = *static_cast<const TableState*>(lfirst(later));
			if (now.root != then.root) continue;
			if (const char* const reason = reason_for_reset(then, now)) want(now.root, reason);
		}
	}
}

}  // namespace plank::backend
