// A utility statement while it runs, and what it did to tracked tables that no row trigger saw. Runs in ordinary
// sessions. The functions here may ereport: call them inside pg::call.
#pragma once

#include "core/capture_arguments.hpp"

#include "pg/catalog.hpp"

namespace plank::backend {

struct Reset {
	Oid root;
	const char* reason;
};

// Statements nest: a function that an ALTER TABLE runs may run another. Each has its own, on the stack of its hook.
struct Statement {
	Node* node = nullptr;
	Statement* outer = nullptr;
	MemoryContext memory = nullptr;  // lives until the statement ends, over commits inside it
	List* truncated = NIL;           // tables that TRUNCATE empties
	List* shrunk = NIL;              // tracked tables that lose partitions by DROP
	List* dropped_columns = NIL;     // DroppedColumn*
	List* dropped_triggers = NIL;    // tables that lost one of their own capture triggers
	List* resets = NIL;              // Reset*, one for each table
	bool catalog_changed = false;
};

// The innermost watched statement, or null.
Statement* current_statement() noexcept;

// Makes `statement` the current one while it lives.
class StatementScope {
 public:
	StatementScope(Statement& statement, Node* node) noexcept;
	~StatementScope();
	StatementScope(const StatementScope&) = delete;
	StatementScope& operator=(const StatementScope&) = delete;

 private:
	Statement& statement_;
};

// The first reason is kept for each table.
void want_reset(Statement& statement, Oid root, const char* reason);

// What object_access_hook hears, to be judged when the statement has ended.
void note_truncate(Statement& statement, Oid relation);
void note_drop(Statement& statement, Oid class_id, Oid object, int column);

// Judges what was noted: turns it into resets, and brings the triggers of tables that lost a column or a trigger into
// order.
void settle(Statement& statement);

// For TRUNCATE outside any statement, as logical replication does it: the table to reset when `relation` is emptied.
Oid root_emptied_with(Oid relation);

}  // namespace plank::backend
