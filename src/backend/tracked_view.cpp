// What the view plank.tracked reads triggers with. Runs in ordinary sessions. Anybody may call these with anything: what
// is no capture trigger's gives nulls.
#include "backend/tracking.hpp"

#include "backend/filter.hpp"
#include "pg/guard.hpp"

namespace plank::backend {

namespace {

Datum name_array(std::string_view list)
{
	List* names = NIL;
	core::NameList reader(list);
	while (const auto name = reader.next()) {
		auto* const copy = static_cast<NameData*>(palloc0(sizeof(NameData)));
		memcpy(copy->data, name->text, name->length);
		names = lappend(names, copy);
	}
	auto* const values = static_cast<Datum*>(palloc(sizeof(Datum) * (list_length(names) + 1)));
	for (int i = 0; i < list_length(names); ++i)
		values[i] = NameGetDatum(static_cast<NameData*>(list_nth(names, i)));
	return PointerGetDatum(construct_array(values, list_length(names), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
}

// The filter of one trigger; null when there is no such trigger, or none that plank.track made.
char* filter_of_trigger(Oid id)
{
	const Relation pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(id));
	const SysScanDesc scan = systable_beginscan(pg_trigger, TriggerOidIndexId, true, nullptr, 1, &key);
	Oid relation = InvalidOid;
	const char* when = nullptr;
	if (const HeapTuple tuple = systable_getnext(scan)) {
		const auto* const row = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
		bool is_null = false;
		const Datum qual = heap_getattr(tuple, Anum_pg_trigger_tgqual, RelationGetDescr(pg_trigger), &is_null);
		if (row->tgfoid == capture_function() && !is_null) {
			relation = row->tgrelid;
			when = TextDatumGetCString(qual);
		}
	}
	systable_endscan(scan);
	table_close(pg_trigger, AccessShareLock);
	Node* const filter = when && get_rel_name(relation) ? filter_of_when(when) : nullptr;
	return filter ? print_filter(filter, relation, nullptr) : nullptr;
}

}  // namespace

}  // namespace plank::backend

using namespace plank;

extern "C" {

PG_FUNCTION_INFO_V1(plank_arguments);
PG_FUNCTION_INFO_V1(plank_filter);

PGDLLEXPORT Datum plank_arguments(PG_FUNCTION_ARGS)
{
	return pg::entry([&] {
		return pg::call([&]() -> Datum {
			TupleDesc row = nullptr;
			if (get_call_result_type(fcinfo, nullptr, &row) != TYPEFUNC_COMPOSITE)
				elog(ERROR, "plank: _arguments must return a row");
			Datum values[3] = {};
			bool nulls[3] = {true, true, true};
			const bytea* const bytes = PG_GETARG_BYTEA_PP(0);
			const auto arguments = core::read_capture_arguments(
			    std::string_view(VARDATA_ANY(bytes), static_cast<size_t>(VARSIZE_ANY_EXHDR(bytes))));
			if (arguments) {
				values[0] = CStringGetTextDatum(core::name_of(arguments->mode));
				nulls[0] = false;
				nulls[1] = arguments->columns.empty();
				if (!nulls[1]) values[1] = backend::name_array(arguments->columns);
				nulls[2] = arguments->notify.empty();
				if (!nulls[2])
					values[2] = PointerGetDatum(
					    cstring_to_text_with_len(arguments->notify.data(), static_cast<int>(arguments->notify.size())));
			}
			return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls));
		});
	});
}

PGDLLEXPORT Datum plank_filter(PG_FUNCTION_ARGS)
{
	return pg::entry([&] {
		return pg::call([&]() -> Datum {
			const char* const filter = backend::filter_of_trigger(PG_GETARG_OID(0));
			if (!filter) PG_RETURN_NULL();
			PG_RETURN_TEXT_P(cstring_to_text(filter));
		});
	});
}

}  // extern "C"
