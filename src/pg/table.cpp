// Reading tracked tables from the catalog. Runs in sessions and in the worker, inside a transaction.
#include "pg/table.hpp"

#include <string_view>
#include <utility>

#include "pg/compat.hpp"
#include "pg/encoding.hpp"
#include "pg/guard.hpp"
#include "pg/value_text.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "nodes/bitmapset.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
}

namespace plank::pg {

namespace {

Oid cached_capture = InvalidOid;
bool capture_known = false;

void forget_capture(Datum, int, uint32) { capture_known = false; }

// May ereport.
void look_up_capture()
{
	static bool registered = false;
	if (!registered) {
		CacheRegisterSyscacheCallback(PROCOID, forget_capture, static_cast<Datum>(0));
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_capture, static_cast<Datum>(0));
		registered = true;
	}
	cached_capture = InvalidOid;
	// Set first: what changes while it is looked up must not be lost.
	capture_known = true;
	const Oid schema = get_namespace_oid("plank", true);
	if (!OidIsValid(schema)) return;
	const oidvector* none = buildoidvector(nullptr, 0);
	cached_capture = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("capture"),
	                                 PointerGetDatum(none), ObjectIdGetDatum(schema));
}

// The number place of a type, PostgreSQL's side: may ereport, owns nothing.
NumberPlace find_number_place(Oid type)
{
	check_stack_depth();
	type = getBaseType(type);
	if (type == INT8OID || type == NUMERICOID) return NumberPlace::scalar;
	const Oid element = get_element_type(type);
	if (OidIsValid(element))
		return find_number_place(element) == NumberPlace::none ? NumberPlace::none : NumberPlace::nested;
	// Whatever a composite holds now: it can get such a column without any table that uses it hearing of that.
	if (type_is_rowtype(type)) return NumberPlace::nested;
	return NumberPlace::none;
}

struct PlainColumn {
	AttrNumber number;
	Oid type_oid;
	char* name;
	char* type;
	NumberPlace numbers;
	bool with_text;
	int key_place;  // -1 when it is no key column
};

struct PlainTable {
	char* name;
	int columns;
	int keys;
	PlainColumn* column;
};

bool listed(ArrayType* names, const char* name)
{
	if (!names) return true;
	Datum* values = nullptr;
	bool* nulls = nullptr;
	int count = 0;
	deconstruct_array(names, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &values, &nulls, &count);
	for (int i = 0; i < count; ++i)
		if (!nulls[i] && strcmp(NameStr(*DatumGetName(values[i])), name) == 0) return true;
	return false;
}

// Protocol rule 5: the primary key unless DEFERRABLE, else the replica identity index.
Oid key_index(Relation relation)
{
	RelationGetIndexList(relation);
	Oid index = relation->rd_pkindex;
#if PG_VERSION_NUM >= 180000
	if (relation->rd_ispkdeferrable) index = InvalidOid;
#endif
	if (!OidIsValid(index)) index = relation->rd_replidindex;
	return index;
}

// The same in every session, whatever its search_path: a table's shape must not change with who writes. Types of
// pg_catalog have no schema in front, all others have one.
const char* type_name(Oid type, int32 typmod)
{
	const char* const name = format_type_extended(type, typmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
	constexpr std::string_view kCatalog = "pg_catalog.";
	return std::string_view(name).starts_with(kCatalog) ? name + kCatalog.size() : name;
}

// All of describe_table that may ereport; the result lives in CurrentMemoryContext.
PlainTable* describe(Relation relation, const char* columns)
{
	auto* table = static_cast<PlainTable*>(palloc0(sizeof(PlainTable)));
	char* const schema = get_namespace_name(RelationGetNamespace(relation));
	table->name = utf8_of(quote_qualified_identifier(schema, RelationGetRelationName(relation)));

	int key_attributes[INDEX_MAX_KEYS];
	const Oid index_oid = key_index(relation);
	// From the catalog, not from the index itself: that would take its lock, which the table's does not imply.
	const HeapTuple tuple = OidIsValid(index_oid) ? SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index_oid)) : nullptr;
	if (HeapTupleIsValid(tuple)) {
		const auto* index = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
		for (int i = 0; i < index->indnkeyatts; ++i)
			key_attributes[table->keys++] = index->indkey.values[i];
		ReleaseSysCache(tuple);
	}

	ArrayType* names = nullptr;
	if (columns && *columns)
		names = DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, const_cast<char*>(columns), NAMEOID, -1));
	const TupleDesc row = RelationGetDescr(relation);
	table->column = static_cast<PlainColumn*>(palloc0(sizeof(PlainColumn) * static_cast<Size>(row->natts + 1)));
	for (int i = 0; i < row->natts; ++i) {
		const Form_pg_attribute attribute = TupleDescAttr(row, i);
		if (attribute->attisdropped || is_virtual(*attribute)) continue;
		int key_place = -1;
		for (int k = 0; k < table->keys; ++k)
			if (key_attributes[k] == attribute->attnum) key_place = k;
		if (key_place < 0 && !listed(names, NameStr(attribute->attname))) continue;
		PlainColumn& column = table->column[table->columns++];
		column.number = attribute->attnum;
		column.type_oid = attribute->atttypid;
		column.name = utf8_of(NameStr(attribute->attname));
		column.type = utf8_of(type_name(attribute->atttypid, attribute->atttypmod));
		column.numbers = find_number_place(attribute->atttypid);
		column.with_text = text_need(attribute->atttypid) != TextNeed::never;
		column.key_place = key_place;
	}
	return table;
}

}  // namespace

NumberPlace number_place(Oid type)
{
	return call([&] { return find_number_place(type); });
}

TableDescription describe_table(Relation relation, const char* columns)
{
	const PlainTable* plain = call([&] { return describe(relation, columns); });
	TableDescription table;
	table.relation = RelationGetRelid(relation);
	table.name = plain->name;
	table.key.resize(static_cast<size_t>(plain->keys));
	for (int i = 0; i < plain->columns; ++i) {
		const PlainColumn& from = plain->column[i];
		ColumnDescription column;
		column.name = from.name;
		column.type = from.type;
		column.type_oid = from.type_oid;
		column.number = from.number;
		column.numbers = from.numbers;
		column.with_text = from.with_text;
		if (from.key_place >= 0) table.key[static_cast<size_t>(from.key_place)] = static_cast<uint32_t>(i);
		table.columns.push_back(std::move(column));
	}
	return table;
}

Oid capture_function()
{
	if (capture_known) return cached_capture;
	try {
		call(look_up_capture);
	} catch (...) {
		capture_known = false;
		throw;
	}
	return cached_capture;
}

Tracking read_tracking(Relation relation, Oid function)
{
	Tracking tracking;
	std::string notify;
	// Nothing here may look at the catalog: that can replace the triggers' description.
	const TriggerDesc* triggers = relation->trigdesc;
	if (!triggers || !OidIsValid(function)) return tracking;
	for (int i = 0; i < triggers->numtriggers; ++i) {
		const Trigger& trigger = triggers->triggers[i];
		if (trigger.tgfoid != function || trigger.tgisclone) continue;
		tracking.tracked = true;
		// Whoever owns the table can write any arguments; too few of them mean nothing special.
		if (trigger.tgnargs > 1) tracking.columns = trigger.tgargs[1];
		if (trigger.tgnargs > 2) notify = trigger.tgargs[2];
	}
	tracking.notify = to_utf8(notify.c_str());
	return tracking;
}

}  // namespace plank::pg
