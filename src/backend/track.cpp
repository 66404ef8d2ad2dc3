// plank.track and plank.untrack. Runs in ordinary sessions, with the caller's own privileges: the triggers are made by
// plain DDL, so that event triggers, logs and dumps see them.
#include "backend/track.hpp"

#include "core/capture_arguments.hpp"
#include "core/record.hpp"

#include "backend/filter.hpp"
#include "backend/track_request.hpp"
#include "backend/tracking.hpp"
#include "backend/transaction_buffer.hpp"
#include "pg/guard.hpp"

namespace plank::backend {

namespace {

bool changing = false;

class Changing {
 public:
	Changing() noexcept : outer_(changing) { changing = true; }
	~Changing() { changing = outer_; }
	Changing(const Changing&) = delete;
	Changing& operator=(const Changing&) = delete;

 private:
	bool outer_;
};

const char* trigger_name(core::CaptureMode mode) { return psprintf("plank_%s", core::name_of(mode)); }

CaptureTrigger* find(const List* triggers, core::CaptureMode mode)
{
	ListCell* cell;
	foreach (cell, triggers) {
		auto* const trigger = static_cast<CaptureTrigger*>(lfirst(cell));
		if (trigger->mode == mode && strcmp(NameStr(trigger->name), trigger_name(mode)) == 0) return trigger;
	}
	return nullptr;
}

const char* table_name(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation));
}

void run(const char* statement)
{
	const int result = SPI_execute(statement, false, 0);
	if (result != SPI_OK_UTILITY) elog(ERROR, "plank: %s returned %s", statement, SPI_result_code_string(result));
}

// Whether the table's triggers are already what is wanted. Filters are compared as they print.
bool is_as_wanted(const List* triggers, const TrackRequest& request, Oid relation)
{
	int wanted = 0;
	const char* const filter = request.filter ? print_filter(request.filter, relation, nullptr) : nullptr;
	for (int mode = 0; mode < core::kCaptureModes; ++mode) {
		if (!request.wanted[mode]) continue;
		++wanted;
		const CaptureTrigger* const trigger = find(triggers, static_cast<core::CaptureMode>(mode));
		if (!trigger || trigger->enabled != TRIGGER_FIRES_ALWAYS || strcmp(trigger->columns, request.columns) != 0 ||
		    strcmp(trigger->notify, request.notify) != 0)
			return false;
		const bool has_filter = filter && mode != static_cast<int>(core::CaptureMode::truncate);
		if (has_filter != (trigger->when != nullptr)) return false;
		if (!has_filter) continue;
		Node* const former = filter_of_when(trigger->when);
		if (!former || strcmp(print_filter(former, relation, nullptr), filter) != 0) return false;
	}
	return list_length(triggers) == wanted;
}

// A table is tracked under one name, so partitions and the tables above them exclude each other; and CREATE OR REPLACE
// TRIGGER would replace anybody's trigger of the same name.
void check_neighbours(Oid relation, const TrackRequest& request)
{
	const Oid root = tracked_root(relation);
	if (OidIsValid(root) && root != relation)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("\"%s\" is a partition of the tracked table \"%s\"", get_rel_name(relation),
		                       get_rel_name(root)),
		                errdetail("Changes of its rows are sent under the name of \"%s\".", get_rel_name(root))));

	List* relations = list_make1_oid(relation);
	if (get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE)
		relations = find_all_inheritors(relation, NoLock, nullptr);
	ListCell* cell;
	foreach (cell, relations) {
		const Oid table = lfirst_oid(cell);
		if (table != relation && is_tracked(table))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			                errmsg("partition \"%s\" of \"%s\" is tracked by itself", get_rel_name(table),
			                       get_rel_name(relation)),
			                errhint("Untrack the partition first.")));
		for (int mode = 0; mode < core::kCaptureModes; ++mode) {
			if (!request.wanted[mode]) continue;
			const char* const name = trigger_name(static_cast<core::CaptureMode>(mode));
			const Oid trigger = get_trigger_oid(table, name, true);
			if (!OidIsValid(trigger)) continue;
			ListCell* own;
			bool ours = false;
			foreach (own, capture_triggers(table))
				ours = ours || static_cast<CaptureTrigger*>(lfirst(own))->id == trigger;
			if (!ours)
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
				                errmsg("table \"%s\" already has a trigger \"%s\" that is not Plank's",
				                       get_rel_name(table), name),
				                errhint("Rename or drop that trigger.")));
		}
	}
}

void create_trigger(Oid relation, core::CaptureMode mode, const TrackRequest& request)
{
	using enum core::CaptureMode;
	const char* event = "UPDATE";
	if (mode == insert) event = "INSERT";
	if (mode == remove) event = "DELETE";
	if (mode == truncate) event = "TRUNCATE";
	const char* const when = when_condition(request, mode, relation);
	run(psprintf(
	    "CREATE OR REPLACE TRIGGER %s AFTER %s ON %s FOR EACH %s %s EXECUTE FUNCTION plank.capture(%s, %s, %s)",
	    trigger_name(mode), event, table_name(relation), mode == truncate ? "STATEMENT" : "ROW",
	    when ? psprintf("WHEN (%s)", when) : "", quote_literal_cstr(core::name_of(mode)),
	    quote_literal_cstr(request.columns), quote_literal_cstr(request.notify)));
}

void drop_trigger(Oid relation, const CaptureTrigger& trigger)
{
	run(psprintf("DROP TRIGGER %s ON %s", quote_identifier(NameStr(trigger.name)), table_name(relation)));
}

// Runs `work` with SPI under a search_path in which nobody plants look-alikes; the caller's comes back with it, and on
// an error with the end of the transaction.
template <typename Work>
void with_safe_names(const Work& work)
{
	const int level = NewGUCNestLevel();
	set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
	                  false);
	SPI_connect();
	work();
	SPI_finish();
	AtEOXact_GUC(true, level);
}

// True when anything changed.
bool track(const TrackArguments& arguments)
{
	const Oid id = arguments.relation;
	check_owner(id);
	check_trackable(id);
	if (!OidIsValid(capture_function()))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("extension \"plank\" is not whole in this database")));

	// A look under the weakest lock first: calling track again with the same arguments disturbs nobody.
	Relation relation = table_open(id, AccessShareLock);
	const TrackRequest* request = read_request(arguments, relation);
	const bool done = is_as_wanted(capture_triggers(id), *request, id);
	const bool drops = capture_triggers(id) != NIL;
	table_close(relation, AccessShareLock);
	if (done) return false;

	relation = table_open(id, drops ? AccessExclusiveLock : ShareRowExclusiveLock);
	check_owner(id);
	check_trackable(id);
	request = read_request(arguments, relation);
	check_neighbours(id, *request);
	if (!arguments.columns) notice_virtual_columns(relation);
	table_close(relation, NoLock);
	with_safe_names([&] {
		ListCell* cell;
		foreach (cell, capture_triggers(id)) {
			const auto& trigger = *static_cast<CaptureTrigger*>(lfirst(cell));
			const auto mode = static_cast<int>(trigger.mode);
			if (!request->wanted[mode] || strcmp(NameStr(trigger.name), trigger_name(trigger.mode)) != 0)
				drop_trigger(id, trigger);
		}
		StringInfoData enable;
		initStringInfo(&enable);
		for (int i = 0; i < core::kCaptureModes; ++i) {
			if (!request->wanted[i]) continue;
			const auto mode = static_cast<core::CaptureMode>(i);
			create_trigger(id, mode, *request);
			appendStringInfo(&enable, "%s ENABLE ALWAYS TRIGGER %s", enable.len == 0 ? "" : ",", trigger_name(mode));
		}
		run(psprintf("ALTER TABLE %s%s", table_name(id), enable.data));
	});
	return true;
}

bool untrack(Oid id)
{
	check_owner(id);
	const Oid root = tracked_root(id);
	if (OidIsValid(root) && root != id)
		ereport(ERROR,
		        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		         errmsg("\"%s\" is a partition of the tracked table \"%s\"", get_rel_name(id), get_rel_name(root)),
		         errhint("Untrack \"%s\".", get_rel_name(root))));
	if (!OidIsValid(root)) return false;
	LockRelationOid(id, AccessExclusiveLock);
	check_owner(id);
	List* const triggers = capture_triggers(id);
	with_safe_names([&] {
		ListCell* cell;
		foreach (cell, triggers)
			drop_trigger(id, *static_cast<CaptureTrigger*>(lfirst(cell)));
	});
	return triggers != NIL;
}

}  // namespace

bool tracking_is_changing() noexcept { return changing; }

}  // namespace plank::backend

using namespace plank;

extern "C" {

PG_FUNCTION_INFO_V1(plank_track);
PG_FUNCTION_INFO_V1(plank_untrack);

PGDLLEXPORT Datum plank_track(PG_FUNCTION_ARGS)
{
	return pg::entry([&]() -> Datum {
		const backend::Changing guard;
		const auto arguments = pg::call([&] {
			if (PG_ARGISNULL(0))
				ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("relation must not be null")));
			return backend::TrackArguments{
			    .relation = PG_GETARG_OID(0),
			    .events = PG_ARGISNULL(1) ? nullptr : PG_GETARG_ARRAYTYPE_P(1),
			    .columns = PG_ARGISNULL(2) ? nullptr : PG_GETARG_ARRAYTYPE_P(2),
			    .filter = PG_ARGISNULL(3) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(3)),
			    .notify = PG_ARGISNULL(4) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(4)),
			};
		});
		if (pg::call([&] { return backend::track(arguments); })) {
			backend::add_reset(arguments.relation, "tracking changed");
			backend::note_catalog_change();
		}
		PG_RETURN_VOID();
	});
}

PGDLLEXPORT Datum plank_untrack(PG_FUNCTION_ARGS)
{
	return pg::entry([&]() -> Datum {
		const backend::Changing guard;
		const bool was_tracked = pg::call([&] {
			if (PG_ARGISNULL(0))
				ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("relation must not be null")));
			return backend::untrack(PG_GETARG_OID(0));
		});
		if (was_tracked) backend::note_catalog_change();
		PG_RETURN_BOOL(was_tracked);
	});
}

}  // extern "C"
