// Reads capture triggers from pg_trigger, and rewrites the column lists in them. Runs in ordinary sessions.
#include "backend/tracking.hpp"

namespace plank::backend {

namespace {

// A trigger's arguments as pg_trigger keeps them: each is followed by a NUL byte.
std::string_view trigger_arguments(Relation pg_trigger, HeapTuple tuple)
{
	bool is_null = false;
	const Datum datum = heap_getattr(tuple, Anum_pg_trigger_tgargs, RelationGetDescr(pg_trigger), &is_null);
	if (is_null) return {};
	const bytea* const bytes = DatumGetByteaPP(datum);
	return {VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};
}

CaptureTrigger* read_trigger(Relation pg_trigger, HeapTuple tuple)
{
	const auto* const row = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
	const auto arguments = core::read_capture_arguments(trigger_arguments(pg_trigger, tuple));
	if (!arguments) return nullptr;
	auto* const trigger = static_cast<CaptureTrigger*>(palloc0(sizeof(CaptureTrigger)));
	trigger->id = row->oid;
	trigger->relation = row->tgrelid;
	trigger->parent = row->tgparentid;
	trigger->enabled = row->tgenabled;
	trigger->name = row->tgname;
	trigger->mode = arguments->mode;
	trigger->columns = pnstrdup(arguments->columns.data(), arguments->columns.size());
	trigger->notify = pnstrdup(arguments->notify.data(), arguments->notify.size());
	bool is_null = false;
	const Datum when = heap_getattr(tuple, Anum_pg_trigger_tgqual, RelationGetDescr(pg_trigger), &is_null);
	trigger->when = is_null ? nullptr : TextDatumGetCString(when);
	return trigger;
}

// Walks the triggers of one table, or of all when `relation` is InvalidOid.
SysScanDesc scan_triggers(Relation pg_trigger, Oid relation)
{
	ScanKeyData key;
	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	const bool one = OidIsValid(relation);
	return systable_beginscan(pg_trigger, TriggerRelidNameIndexId, one, nullptr, one ? 1 : 0, &key);
}

void append_name(StringInfo list, const char* name)
{
	appendStringInfoString(list, list->len == 0 ? "{\"" : ",\"");
	for (; *name; ++name) {
		if (*name == '"' || *name == '\\') appendStringInfoChar(list, '\\');
		appendStringInfoChar(list, *name);
	}
	appendStringInfoChar(list, '"');
}

}  // namespace

Oid capture_function()
{
	const Oid schema = get_namespace_oid("plank", true);
	if (!OidIsValid(schema)) return InvalidOid;
	const HeapTuple tuple = SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum("capture"),
	                                        PointerGetDatum(buildoidvector(nullptr, 0)), ObjectIdGetDatum(schema));
	if (!HeapTupleIsValid(tuple)) return InvalidOid;
	// Only superusers can make functions in C, so this cannot be somebody's look-alike.
	const auto* const row = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
	const Oid function = row->prolang == ClanguageId && row->prorettype == TRIGGEROID ? row->oid : InvalidOid;
	ReleaseSysCache(tuple);
	return function;
}

List* capture_triggers(Oid relation)
{
	const Oid function = capture_function();
	List* triggers = NIL;
	if (!OidIsValid(function) || !OidIsValid(relation)) return NIL;
	const Relation pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	const SysScanDesc scan = scan_triggers(pg_trigger, relation);
	while (const HeapTuple tuple = systable_getnext(scan)) {
		if (reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple))->tgfoid != function) continue;
		if (CaptureTrigger* const trigger = read_trigger(pg_trigger, tuple)) triggers = lappend(triggers, trigger);
	}
	systable_endscan(scan);
	table_close(pg_trigger, AccessShareLock);
	return triggers;
}

bool is_tracked(Oid relation)
{
	ListCell* cell;
	foreach (cell, capture_triggers(relation))
		if (!OidIsValid(static_cast<CaptureTrigger*>(lfirst(cell))->parent)) return true;
	return false;
}

Oid tracked_root(Oid relation)
{
	if (is_tracked(relation)) return relation;
	if (!get_rel_relispartition(relation)) return InvalidOid;
	ListCell* cell;
	foreach (cell, get_partition_ancestors(relation))
		if (is_tracked(lfirst_oid(cell))) return lfirst_oid(cell);
	return InvalidOid;
}

List* tracked_tables()
{
	const Oid function = capture_function();
	List* tables = NIL;
	if (!OidIsValid(function)) return NIL;
	const Relation pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	const SysScanDesc scan = scan_triggers(pg_trigger, InvalidOid);
	while (const HeapTuple tuple = systable_getnext(scan)) {
		const auto* const row = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
		if (row->tgfoid == function && !OidIsValid(row->tgparentid))
			tables = list_append_unique_oid(tables, row->tgrelid);
	}
	systable_endscan(scan);
	table_close(pg_trigger, AccessShareLock);
	list_sort(tables, list_oid_cmp);
	return tables;
}

int column_count(Oid relation)
{
	const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	if (!HeapTupleIsValid(tuple)) return 0;
	const int columns = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relnatts;
	ReleaseSysCache(tuple);
	return columns;
}

Bitmapset* key_columns(Relation relation)
{
	Bitmapset* key = nullptr;
	ListCell* cell;
	foreach (cell, RelationGetIndexList(relation)) {
		const HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		if (!HeapTupleIsValid(tuple)) continue;
		const auto* const index = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
		const bool is_key =
		    index->indisvalid && index->indimmediate && (index->indisprimary || (index->indisreplident && !key));
		if (is_key) {
			bms_free(key);
			key = nullptr;
			for (int i = 0; i < index->indnkeyatts; ++i)
				key = bms_add_member(key, index->indkey.values[i]);
		}
		const bool is_primary = is_key && index->indisprimary;
		ReleaseSysCache(tuple);
		if (is_primary) break;
	}
	return key;
}

char* name_list_of(Relation relation, const Bitmapset* columns)
{
	StringInfoData list;
	initStringInfo(&list);
	const TupleDesc row = RelationGetDescr(relation);
	for (int column = -1; (column = bms_next_member(columns, column)) >= 0;)
		append_name(&list, NameStr(TupleDescAttr(row, column - 1)->attname));
	if (list.len == 0) appendStringInfoChar(&list, '{');
	appendStringInfoChar(&list, '}');
	return list.data;
}

void rewrite_columns(Oid relation, const char* gone, const char* renamed)
{
	const Oid function = capture_function();
	if (!OidIsValid(function)) return;
	bool changed = false;
	const Relation pg_trigger = table_open(TriggerRelationId, RowExclusiveLock);
	const SysScanDesc scan = scan_triggers(pg_trigger, relation);
	while (const HeapTuple tuple = systable_getnext(scan)) {
		const auto* const row = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
		if (row->tgfoid != function) continue;
		const auto arguments = core::read_capture_arguments(trigger_arguments(pg_trigger, tuple));
		if (!arguments || !core::contains(arguments->columns, gone)) continue;

		StringInfoData text;
		initStringInfo(&text);
		core::NameList names(arguments->columns);
		while (const auto name = names.next()) {
			if (name->view() != gone)
				append_name(&text, name->text);
			else if (renamed)
				append_name(&text, renamed);
		}
		if (text.len == 0) appendStringInfoChar(&text, '{');
		appendStringInfoChar(&text, '}');

		StringInfoData bytes;
		initStringInfo(&bytes);
		appendStringInfoString(&bytes, core::name_of(arguments->mode));
		appendStringInfoChar(&bytes, '\0');
		appendBinaryStringInfo(&bytes, text.data, text.len);
		appendStringInfoChar(&bytes, '\0');
		appendBinaryStringInfo(&bytes, arguments->notify.data(), static_cast<int>(arguments->notify.size()));
		appendStringInfoChar(&bytes, '\0');

		Datum values[Natts_pg_trigger] = {};
		bool nulls[Natts_pg_trigger] = {};
		bool replaces[Natts_pg_trigger] = {};
		values[Anum_pg_trigger_tgargs - 1] =
		    PointerGetDatum(cstring_to_text_with_len(bytes.data, bytes.len));  // bytea and text are laid out alike
		replaces[Anum_pg_trigger_tgargs - 1] = true;
		const HeapTuple changed_tuple = heap_modify_tuple(tuple, RelationGetDescr(pg_trigger), values, nulls, replaces);
		CatalogTupleUpdate(pg_trigger, &tuple->t_self, changed_tuple);
		changed = true;
	}
	systable_endscan(scan);
	table_close(pg_trigger, RowExclusiveLock);
	if (!changed) return;
	CacheInvalidateRelcacheByRelid(relation);
	CommandCounterIncrement();
}

}  // namespace plank::backend
