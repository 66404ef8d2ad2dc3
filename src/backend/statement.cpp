// Collects and judges what a utility statement did. Runs in ordinary sessions, inside pg::call.
#include "backend/statement.hpp"

#include "backend/tracking.hpp"

namespace plank::backend {

namespace {

Statement* current = nullptr;

struct DroppedColumn {
	Oid relation;
	NameData name;
};

bool exists(Oid relation) { return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)); }

bool is_plain(char relkind) { return relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE; }

// Whether the table's own truncate trigger fires in this session.
bool tells_of_truncate(Oid relation)
{
	ListCell* cell;
	foreach (cell, capture_triggers(relation)) {
		const auto& trigger = *static_cast<CaptureTrigger*>(lfirst(cell));
		if (trigger.mode != core::CaptureMode::truncate) continue;
		if (trigger.enabled == TRIGGER_FIRES_ALWAYS) return true;
		const bool is_replica = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;
		if (trigger.enabled == (is_replica ? TRIGGER_FIRES_ON_REPLICA : TRIGGER_FIRES_ON_ORIGIN)) return true;
	}
	return false;
}

// The table that owned a trigger about to be dropped, when plank.track made that trigger for it (not for a partition).
Oid table_of_own_trigger(Oid id)
{
	const Oid function = capture_function();
	if (!OidIsValid(function)) return InvalidOid;
	const Relation pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(id));
	const SysScanDesc scan = systable_beginscan(pg_trigger, TriggerOidIndexId, true, nullptr, 1, &key);
	Oid table = InvalidOid;
	if (const HeapTuple tuple = systable_getnext(scan)) {
		const auto* const row = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
		if (row->tgfoid == function && !OidIsValid(row->tgparentid)) table = row->tgrelid;
	}
	systable_endscan(scan);
	table_close(pg_trigger, AccessShareLock);
	return table;
}

void note_dropped_relation(Statement& statement, Oid relation)
{
	switch (get_rel_relkind(relation)) {
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE: {
			if (!get_rel_relispartition(relation) || get_rel_persistence(relation) == RELPERSISTENCE_TEMP) return;
			const Oid root = tracked_root(relation);
			if (OidIsValid(root)) statement.shrunk = list_append_unique_oid(statement.shrunk, root);
			return;
		}
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			// It may have been the key.
			if (is_tracked(IndexGetRelation(relation, true))) statement.catalog_changed = true;
			return;
		default:
			return;
	}
}

void note_dropped_column(Statement& statement, Oid relation, int column)
{
	if (!is_plain(get_rel_relkind(relation)) || capture_triggers(relation) == NIL) return;
	const char* const name = get_attname(relation, static_cast<AttrNumber>(column), true);
	if (!name) return;
	auto* const dropped = static_cast<DroppedColumn*>(palloc0(sizeof(DroppedColumn)));
	dropped->relation = relation;
	namestrcpy(&dropped->name, name);
	statement.dropped_columns = lappend(statement.dropped_columns, dropped);
}

// A table that lost a trigger because something it depended on went (a column of the filter, a function) is tracked no
// more: the triggers that are left would tell half a story.
void drop_rest(Oid relation, const List* triggers)
{
	ListCell* cell;
	foreach (cell, triggers) {
		ObjectAddress address;
		ObjectAddressSet(address, TriggerRelationId, static_cast<CaptureTrigger*>(lfirst(cell))->id);
		performDeletion(&address, DROP_RESTRICT, 0);
	}
	CommandCounterIncrement();
	ereport(NOTICE, (errmsg("table \"%s\" is no longer tracked", get_rel_name(relation))));
}

bool drops_triggers_by_name(const Node* node)
{
	return IsA(node, DropStmt) && reinterpret_cast<const DropStmt*>(node)->removeType == OBJECT_TRIGGER;
}

void settle_drops(Statement& statement)
{
	CommandCounterIncrement();
	statement.catalog_changed = true;
	ListCell* cell;
	foreach (cell, statement.dropped_triggers) {
		const Oid table = lfirst_oid(cell);
		if (!exists(table)) continue;
		const List* const left = capture_triggers(table);
		if (left == NIL) continue;
		if (drops_triggers_by_name(statement.node))
			want_reset(statement, table, "a capture trigger was dropped");
		else
			drop_rest(table, left);
	}
	foreach (cell, statement.shrunk)
		if (exists(lfirst_oid(cell)) && is_tracked(lfirst_oid(cell)))
			want_reset(statement, lfirst_oid(cell), "a partition was dropped");
	// A name that stayed in the list would let a later column of that name out.
	foreach (cell, statement.dropped_columns) {
		const auto& column = *static_cast<DroppedColumn*>(lfirst(cell));
		if (exists(column.relation)) rewrite_columns(column.relation, NameStr(column.name), nullptr);
	}
}

}  // namespace

Statement* current_statement() noexcept { return current; }

StatementScope::StatementScope(Statement& statement, Node* node) noexcept : statement_(statement)
{
	statement.node = node;
	statement.outer = current;
	statement.memory = CurrentMemoryContext;
	current = &statement;
}

StatementScope::~StatementScope() { current = statement_.outer; }

void want_reset(Statement& statement, Oid root, const char* reason)
{
	ListCell* cell;
	foreach (cell, statement.resets)
		if (static_cast<Reset*>(lfirst(cell))->root == root) return;
	const MemoryContext caller = MemoryContextSwitchTo(statement.memory);
	auto* const reset = static_cast<Reset*>(palloc(sizeof(Reset)));
	*reset = {root, reason};
	statement.resets = lappend(statement.resets, reset);
	MemoryContextSwitchTo(caller);
}

void note_truncate(Statement& statement, Oid relation)
{
	const MemoryContext caller = MemoryContextSwitchTo(statement.memory);
	statement.truncated = list_append_unique_oid(statement.truncated, relation);
	MemoryContextSwitchTo(caller);
}

void note_drop(Statement& statement, Oid class_id, Oid object, int column)
{
	const MemoryContext caller = MemoryContextSwitchTo(statement.memory);
	if (class_id == RelationRelationId) {
		if (column == 0)
			note_dropped_relation(statement, object);
		else
			note_dropped_column(statement, object, column);
	} else if (class_id == TriggerRelationId) {
		const Oid table = table_of_own_trigger(object);
		if (OidIsValid(table)) statement.dropped_triggers = list_append_unique_oid(statement.dropped_triggers, table);
	} else if (class_id == ExtensionRelationId) {
		const char* const name = get_extension_name(object);
		if (name && strcmp(name, "plank") == 0) statement.catalog_changed = true;
	}
	MemoryContextSwitchTo(caller);
}

Oid root_emptied_with(Oid relation)
{
	const Oid root = tracked_root(relation);
	return root == relation && tells_of_truncate(root) ? InvalidOid : root;
}

void settle(Statement& statement)
{
	ListCell* cell;
	foreach (cell, statement.truncated) {
		const Oid root = tracked_root(lfirst_oid(cell));
		if (!OidIsValid(root)) continue;
		if (!list_member_oid(statement.truncated, root))
			want_reset(statement, root, "a partition was truncated");
		else if (!tells_of_truncate(root))
			want_reset(statement, root, "the table was truncated");
	}
	if (statement.shrunk || statement.dropped_columns || statement.dropped_triggers) settle_drops(statement);
	// Whoever watched a table that is tracked no more hears `unsubscribed`.
	foreach (cell, statement.resets)
		if (!is_tracked(static_cast<Reset*>(lfirst(cell))->root))
			statement.resets = foreach_delete_current(statement.resets, cell);
}

}  // namespace plank::backend
