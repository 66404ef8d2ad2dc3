// The capture trigger: one row's change becomes one record of the current transaction. Runs in the writer's session for
// every row of a tracked table, so it is the price a writer pays: one JSON conversion, one copy.
#include "core/bytes.hpp"
#include "core/chunk.hpp"
#include "core/record.hpp"

#include "backend/capture.hpp"
#include "backend/json_output.hpp"
#include "backend/row_record.hpp"
#include "backend/table_cache.hpp"
#include "backend/transaction_buffer.hpp"
#include "pg/guard.hpp"
#include "pg/session.hpp"

extern "C" {
PG_FUNCTION_INFO_V1(plank_capture);
}

namespace plank::backend {

namespace {

// Scratch space for one record; kept between rows.
StringInfoData record;

// The command that made the change, which a nested trigger's firing order does not tell. Only heap tuples carry it.
uint32_t command_of(const TriggerData& trigger)
{
	if (trigger.tg_relation->rd_rel->relam != HEAP_TABLE_AM_OID || TRIGGER_FIRED_FOR_STATEMENT(trigger.tg_event))
		return GetCurrentCommandId(false);
	if (TRIGGER_FIRED_BY_DELETE(trigger.tg_event)) return HeapTupleHeaderGetCmax(trigger.tg_trigtuple->t_data);
	const HeapTuple made = TRIGGER_FIRED_BY_UPDATE(trigger.tg_event) ? trigger.tg_newtuple : trigger.tg_trigtuple;
	return HeapTupleHeaderGetCmin(made->t_data);
}

// An update that moves a row to another partition fires DELETE there and INSERT here, one after the other.
struct Move {
	uint64_t transaction = 0;
	Oid root = InvalidOid;
	uint32_t command = 0;

	bool operator==(const Move&) const = default;
} moving;

core::Tag tag_of(const TriggerData& trigger, const CapturedTrigger& captured, uint32_t command, uint64_t transaction)
{
	const TriggerEvent event = trigger.tg_event;
	const Move here = {transaction, captured.table->root, command};
	if (TRIGGER_FIRED_BY_TRUNCATE(event)) return core::Tag::truncate;
	if (TRIGGER_FIRED_BY_INSERT(event)) {
		if (moving != here) return core::Tag::insert;
		moving = Move{};
		return core::Tag::entered;
	}
	if (TRIGGER_FIRED_BY_DELETE(event)) {
		if (!HeapTupleHeaderIndicatesMovedPartitions(trigger.tg_trigtuple->t_data)) return core::Tag::remove;
		moving = here;
		return core::Tag::left;
	}
	if (captured.tag == core::Tag::entered || captured.tag == core::Tag::left) return captured.tag;
	return core::Tag::update;
}

// All that may ereport. False when the row is too large to be told.
bool capture_row(const TriggerData& trigger, const CapturedTrigger& captured)
{
	const CapturedTable& table = *captured.table;
	TransactionRecords& records = current_records();
	if (records.given_up) {
		records.lose(table.root);
		return true;
	}
	const uint32_t command = command_of(trigger);
	const uint32_t shape = records.number_shape(table);
	const core::Tag tag = tag_of(trigger, captured, command, records.transaction);
	prepare_scratch(&record);
	appendStringInfoChar(&record, static_cast<char>(tag));
	append_varint(&record, shape);
	if (tag != core::Tag::truncate) {
		const bool updated = TRIGGER_FIRED_BY_UPDATE(trigger.tg_event);
		TupleTableSlot* const row = updated && tag != core::Tag::left ? trigger.tg_newslot : trigger.tg_trigslot;
		append_row(&record, table, tag == core::Tag::update ? trigger.tg_trigslot : nullptr, row);
	}
	if (static_cast<uint64_t>(record.len) > core::kMostRecordBytes) return false;
	records.add(command, record.data, static_cast<uint32_t>(record.len));
	return true;
}

// A type's function may write, and its writes would come here while a row is being printed.
class Printing {
 public:
	Printing()
	{
		if (going_on_)
			pg::raise(ERRCODE_OBJECT_IN_USE, "cannot change a table tracked by Plank while Plank prints a value",
			          nullptr, "A type's output function and its cast to json must not write.");
		going_on_ = true;
	}
	~Printing() { going_on_ = false; }
	Printing(const Printing&) = delete;
	Printing& operator=(const Printing&) = delete;

 private:
	static inline bool going_on_ = false;
};

// The entry of the trigger that fires: the same for all rows of a statement, for which PostgreSQL keeps `flinfo`.
const CapturedTrigger& captured_by(FmgrInfo* flinfo, const TriggerData& trigger)
{
	const auto* known = static_cast<const CapturedTrigger*>(flinfo->fn_extra);
	if (known && known->trigger == trigger.tg_trigger->tgoid && known->table->valid) return *known;
	const CapturedTrigger& found = find_captured(trigger.tg_relation, *trigger.tg_trigger);
	flinfo->fn_extra = const_cast<CapturedTrigger*>(&found);
	return found;
}

Datum capture(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		pg::raise(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED, "plank.capture() can only be called as a trigger", nullptr,
		          "Use plank.track() to track a table.");
	const auto& trigger = *reinterpret_cast<const TriggerData*>(fcinfo->context);
	if (!TRIGGER_FIRED_AFTER(trigger.tg_event) ||
	    TRIGGER_FIRED_FOR_ROW(trigger.tg_event) == TRIGGER_FIRED_BY_TRUNCATE(trigger.tg_event))
		pg::raise(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
		          "plank.capture() must be an AFTER trigger, FOR EACH ROW except for TRUNCATE", nullptr,
		          "Use plank.track() to track a table.");
	const Printing printing;
	const CapturedTrigger& captured = captured_by(fcinfo->flinfo, trigger);
	bool fits = false;
	try {
		const OutputSettings settings;
		fits = pg::call([&] { return capture_row(trigger, captured); });
	} catch (pg::Error& error) {
		// PostgreSQL's limit of 1 GB for what is built in memory. The printers hold nothing but memory when they meet it,
		// so the statement can go on.
		if (error.sqlstate() != ERRCODE_PROGRAM_LIMIT_EXCEEDED) throw;
		error.release();
	}
	if (fits)
		records_grew();
	else
		add_reset(captured.table->root, "a row is too large");
	return PointerGetDatum(nullptr);
}

}  // namespace

}  // namespace plank::backend

extern "C" Datum plank_capture(PG_FUNCTION_ARGS)
{
	return plank::pg::entry([&] { return plank::backend::capture(fcinfo); });
}
