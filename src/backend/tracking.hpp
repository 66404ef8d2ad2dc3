// What the catalog says about tracked tables: their capture triggers and what is in them. Runs in ordinary sessions.
// Every function here may ereport unless it says noexcept: call it inside pg::call. Results live in
// CurrentMemoryContext.
#pragma once

#include "core/capture_arguments.hpp"

#include <string_view>

#include "pg/catalog.hpp"

namespace plank::backend {

// The function `plank.capture()`; InvalidOid when this database has no extension plank. Two look-ups in the catalog
// caches, which remember absence too.
Oid capture_function();

// One capture trigger of a table. A trigger whose arguments were forged is none.
struct CaptureTrigger {
	Oid id;
	Oid relation;
	Oid parent;  // the trigger of the partitioned table that this one was cloned from, or InvalidOid
	char enabled;
	NameData name;
	core::CaptureMode mode;
	const char* columns;  // a list of names; "" for every column
	const char* notify;   // "" for none
	const char* when;     // the WHEN condition's node tree, or null
};

// The capture triggers of a table, in no particular order: a List of CaptureTrigger*. Takes no lock.
List* capture_triggers(Oid relation);

// Whether plank.track was called for this very table.
bool is_tracked(Oid relation);

// The tracked table under whose name changes of `relation` are sent: itself, or the partitioned table above it;
// InvalidOid when there is none.
Oid tracked_root(Oid relation);

// The tracked tables of this database, by OID: reads all of pg_trigger.
List* tracked_tables();

// How many columns a relation has, dropped ones included; 0 when it is gone.
int column_count(Oid relation);

// The table's columns that identify a row, as attribute numbers: the primary key unless it is DEFERRABLE, else the
// replica identity index, else null.
Bitmapset* key_columns(Relation relation);

// The names of columns, given as attribute numbers, as a name[] literal in the columns' order.
char* name_list_of(Relation relation, const Bitmapset* columns);

// Drops `gone` from the list of columns in every capture trigger of `relation` or, when `renamed` is not null, puts
// that name in its place.
void rewrite_columns(Oid relation, const char* gone, const char* renamed);

}  // namespace plank::backend
