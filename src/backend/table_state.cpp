// Reads what a tracked table holds from the catalog. Runs in ordinary sessions, inside pg::call.
#include "core/capture_arguments.hpp"

#include "backend/table_state.hpp"
#include "backend/tracking.hpp"

namespace plank::backend {

namespace {

void describe_table(Oid table, StringInfo partitions, StringInfo storage, StringInfo missing)
{
	const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	if (!HeapTupleIsValid(tuple)) return;
	const auto* const row = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
	const int columns = row->relnatts;
	appendStringInfo(partitions, "%u ", table);
	appendStringInfo(storage, "%u ", row->relfilenode);
	ReleaseSysCache(tuple);
	for (int i = 1; i <= columns; ++i) {
		const HeapTuple column = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table), Int16GetDatum(static_cast<int16>(i)));
		if (!HeapTupleIsValid(column)) continue;
		const auto* const attribute = reinterpret_cast<Form_pg_attribute>(GETSTRUCT(column));
		if (attribute->atthasmissing && !attribute->attisdropped) appendStringInfo(missing, "%u.%d ", table, i);
		ReleaseSysCache(column);
	}
}

// A dropped column's value leaves the catalog too, which makes nothing void.
bool has_new_entry(const char* before, const char* after)
{
	for (const char* entry = after; *entry;) {
		const char* const end = strchr(entry, ' ') + 1;
		const char* const found = strstr(before, pnstrdup(entry, static_cast<Size>(end - entry)));
		if (!found || (found != before && found[-1] != ' ')) return true;
		entry = end;
	}
	return false;
}

// A type can change without a rewrite and still print otherwise: timestamp to timestamptz in UTC, integer to oid.
bool has_other_type(const TableState& before, const TableState& after)
{
	for (int i = 0; i < before.columns && i < after.columns; ++i)
		if (OidIsValid(before.types[i]) && OidIsValid(after.types[i]) && before.types[i] != after.types[i]) return true;
	return false;
}

}  // namespace

TableState* state_of(Oid root)
{
	StringInfoData partitions, storage, missing, triggers;
	initStringInfo(&partitions);
	initStringInfo(&storage);
	initStringInfo(&missing);
	initStringInfo(&triggers);
	const bool is_partitioned = get_rel_relkind(root) == RELKIND_PARTITIONED_TABLE;
	ListCell* cell;
	foreach (cell, is_partitioned ? find_all_inheritors(root, NoLock, nullptr) : list_make1_oid(root)) {
		describe_table(lfirst_oid(cell), &partitions, &storage, &missing);
		ListCell* own;
		foreach (own, capture_triggers(lfirst_oid(cell))) {
			const auto& trigger = *static_cast<CaptureTrigger*>(lfirst(own));
			appendStringInfo(&triggers, "%u%c ", trigger.id, trigger.enabled);
		}
	}
	auto* const state = static_cast<TableState*>(palloc(sizeof(TableState)));
	const int columns = column_count(root);
	auto* const types = static_cast<Oid*>(palloc(sizeof(Oid) * static_cast<Size>(columns + 1)));
	for (int i = 0; i < columns; ++i)
		types[i] = get_atttype(root, static_cast<AttrNumber>(i + 1));
	*state = {root, partitions.data, storage.data, missing.data, triggers.data, columns, types};
	return state;
}

List* states_around(Oid relation)
{
	List* roots = NIL;
	const Oid above = tracked_root(relation);
	if (OidIsValid(above)) roots = list_make1_oid(above);
	ListCell* cell;
	foreach (cell, find_all_inheritors(relation, NoLock, nullptr)) {
		const Oid root = lfirst_oid(cell);
		if (root != above && is_tracked(root)) roots = list_append_unique_oid(roots, root);
	}
	List* states = NIL;
	foreach (cell, roots)
		states = lappend(states, state_of(lfirst_oid(cell)));
	return states;
}

const char* reason_for_reset(const TableState& before, const TableState& after)
{
	if (strcmp(before.partitions, after.partitions) != 0) return "its partitions changed";
	if (strcmp(before.storage, after.storage) != 0) return "the table was rewritten";
	if (has_other_type(before, after)) return "a column changed its type";
	if (has_new_entry(before.missing, after.missing)) return "a column was added with a value for all rows";
	if (strcmp(before.triggers, after.triggers) != 0) return "its capture triggers changed";
	return nullptr;
}

}  // namespace plank::backend
