// Checks the arguments of plank.track. Runs in ordinary sessions, inside pg::call.
#include "backend/track_request.hpp"

#include "backend/filter.hpp"
#include "backend/tracking.hpp"
#include "pg/compat.hpp"

namespace plank::backend {

namespace {

enum Event { kInsert, kUpdate, kDelete, kTruncate, kEvents };
constexpr const char* kEventNames[kEvents] = {"insert", "update", "delete", "truncate"};

int event_of(const char* name)
{
	for (int event = 0; event < kEvents; ++event)
		if (strcmp(name, kEventNames[event]) == 0) return event;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unrecognized event \"%s\"", name),
	                errhint("Events are insert, update, delete and truncate.")));
	pg_unreachable();
}

// The elements of a one-dimensional array without nulls.
Datum* elements_of(ArrayType* array, Oid type, const char* argument, int& count)
{
	Datum* elements = nullptr;
	bool* nulls = nullptr;
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("%s must be one-dimensional", argument)));
	const bool is_name = type == NAMEOID;
	deconstruct_array(array, type, is_name ? NAMEDATALEN : -1, false, is_name ? TYPALIGN_CHAR : TYPALIGN_INT, &elements,
	                  &nulls, &count);
	if (count == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be empty", argument),
		                is_name ? errhint("Leave it out, or pass NULL, for all columns.")
		                        : errhint("To stop tracking a table, use plank.untrack.")));
	for (int i = 0; i < count; ++i)
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not contain nulls", argument)));
	return elements;
}

Bitmapset* read_columns(ArrayType* array, Relation relation)
{
	int count = 0;
	const Datum* const names = elements_of(array, NAMEOID, "columns", count);
	Bitmapset* columns = nullptr;
	for (int i = 0; i < count; ++i) {
		const char* const name = NameStr(*DatumGetName(names[i]));
		const AttrNumber column = get_attnum(RelationGetRelid(relation), name);
		if (column == InvalidAttrNumber)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("column \"%s\" of relation \"%s\" does not exist",
			                                                          name, RelationGetRelationName(relation))));
		if (column < 0)
			ereport(ERROR,
			        (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("system column \"%s\" cannot be sent", name)));
		if (pg::is_virtual(*TupleDescAttr(RelationGetDescr(relation), column - 1)))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			                errmsg("virtual generated column \"%s\" cannot be sent", name),
			                errdetail("It is computed when it is read, and is in no row that changes."),
			                errhint("Make it STORED, or compute it where it is shown.")));
		if (bms_is_member(column, columns))
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN), errmsg("column \"%s\" is named twice", name)));
		columns = bms_add_member(columns, column);
	}
	return bms_add_members(columns, key_columns(relation));
}

[[noreturn]] void refuse(const char* kind, const char* name, const char* detail, const char* hint)
{
	ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("cannot track %s \"%s\"", kind, name),
	                errdetail("%s", detail), hint ? errhint("%s", hint) : 0));
	pg_unreachable();
}

}  // namespace

void check_owner(Oid relation)
{
	const char* const name = get_rel_name(relation);
	if (!name)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", relation)));
	if (!object_ownercheck(RelationRelationId, relation, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relation)), name);
}

void check_trackable(Oid relation)
{
	const char* const name = get_rel_name(relation);
	const char* const only_tables = "Only ordinary and partitioned tables have row changes to capture.";
	switch (get_rel_relkind(relation)) {
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_VIEW:
			refuse("view", name, only_tables, "Track the tables that the view reads.");
		case RELKIND_MATVIEW:
			refuse("materialized view", name, only_tables, "Track the tables that the materialized view reads.");
		case RELKIND_FOREIGN_TABLE:
			refuse("foreign table", name, "Its rows change on another server, unseen here.", nullptr);
		default:
			refuse("relation", name, only_tables, nullptr);
	}
	if (IsCatalogRelationOid(relation))
		refuse("system catalog", name, "Triggers do not fire on system catalogs.", nullptr);
	switch (get_rel_persistence(relation)) {
		case RELPERSISTENCE_PERMANENT:
			return;
		case RELPERSISTENCE_TEMP:
			refuse("temporary table", name, "No other session can see its rows.", nullptr);
		default:
			refuse("unlogged table", name, "A crash empties it without a trace.",
			       "Use ALTER TABLE ... SET LOGGED first.");
	}
}

TrackRequest* read_request(const TrackArguments& arguments, Relation relation)
{
	auto* const request = static_cast<TrackRequest*>(palloc0(sizeof(TrackRequest)));
	bool events[kEvents] = {};
	int count = 0;
	if (!arguments.events)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("events must not be null"),
		                errhint("Leave the argument out for all events.")));
	const Datum* const names = elements_of(arguments.events, TEXTOID, "events", count);
	for (int i = 0; i < count; ++i) {
		const char* const name = TextDatumGetCString(names[i]);
		const int event = event_of(name);
		if (events[event])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("event \"%s\" is named twice", name)));
		events[event] = true;
	}

	request->columns = arguments.columns ? name_list_of(relation, read_columns(arguments.columns, relation)) : "";
	request->notify = arguments.notify ? arguments.notify : "";
	if (arguments.notify && !core::is_channel_name(arguments.notify))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		                errmsg("\"%s\" is not a channel that notify can name", arguments.notify),
		                errhint("A channel has 1 to 63 bytes and does not begin with \"plank:\".")));
	if (arguments.filter) {
		if (!events[kInsert] && !events[kUpdate] && !events[kDelete])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			                errmsg("a filter needs one of the events insert, update and delete")));
		request->filter = parse_filter(relation, arguments.filter);
	}
	using enum core::CaptureMode;
	const auto want = [&](core::CaptureMode mode, bool wanted) { request->wanted[static_cast<int>(mode)] = wanted; };
	want(insert, events[kInsert]);
	want(update, events[kUpdate]);
	want(remove, events[kDelete]);
	want(truncate, events[kTruncate]);
	want(enter, events[kInsert] && request->filter);
	want(leave, events[kDelete] && request->filter);
	return request;
}

void notice_virtual_columns(Relation relation)
{
	const TupleDesc row = RelationGetDescr(relation);
	for (int i = 0; i < row->natts; ++i) {
		const FormData_pg_attribute& column = *TupleDescAttr(row, i);
		if (column.attisdropped || !pg::is_virtual(column)) continue;
		ereport(NOTICE, (errmsg("virtual generated column \"%s\" is not sent", NameStr(column.attname)),
		                 errdetail("It is computed when it is read, and is in no row that changes.")));
	}
}

// The executor judges the filter: which of an update's three triggers fires says what the update is to those who see
// only rows that pass.
const char* when_condition(const TrackRequest& request, core::CaptureMode mode, Oid relation)
{
	if (!request.filter || mode == core::CaptureMode::truncate) return nullptr;
	const char* const is_in = print_filter(request.filter, relation, "new");
	const char* const was_in = print_filter(request.filter, relation, "old");
	switch (mode) {
		case core::CaptureMode::insert:
			return psprintf("(%s) IS TRUE", is_in);
		case core::CaptureMode::update:
			return psprintf("(%s) IS TRUE AND (%s) IS TRUE", was_in, is_in);
		case core::CaptureMode::enter:
			return psprintf("(%s) IS TRUE AND (%s) IS NOT TRUE", is_in, was_in);
		case core::CaptureMode::leave:
			return psprintf("(%s) IS TRUE AND (%s) IS NOT TRUE", was_in, is_in);
		case core::CaptureMode::remove:
			return psprintf("(%s) IS TRUE", was_in);
		case core::CaptureMode::truncate:
			break;
	}
	return nullptr;
}

}  // namespace plank::backend
