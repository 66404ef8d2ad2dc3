// The capture trigger: one row's change becomes one record of the current transaction. Runs in the writer's session for
// every row of a tracked table, so it is the price a writer pays: one JSON conversion, one copy.
#include "core/bytes.hpp"
#include "core/chunk.hpp"
#include "core/record.hpp"

#include "backend/capture.hpp"
#include "backend/json_output.hpp"
#include "backend/table_cache.hpp"
#include "backend/transaction_buffer.hpp"
#include "pg/guard.hpp"
#include "pg/session.hpp"

extern "C" {
PG_FUNCTION_INFO_V1(plank_capture);
}

namespace plank::backend {

namespace {

// Scratch space for one record and for one former value; kept between rows, given back when a row made it large.
StringInfoData record;
StringInfoData former;
constexpr int kLargestScratch = 1024 * 1024;

void prepare_scratch(StringInfo scratch)
{
	if (unlikely(scratch->maxlen > kLargestScratch)) {
		pfree(scratch->data);
		*scratch = StringInfoData{};
	}
	if (unlikely(!scratch->data)) {
		const MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
		initStringInfo(scratch);
		MemoryContextSwitchTo(caller);
	}
	resetStringInfo(scratch);
}

void append_varint(StringInfo out, uint64_t value)
{
	enlargeStringInfo(out, core::kMaxVarint);
	out->len += core::put_varint(out->data + out->len, value);
}

// Puts the length in front of what was appended after `start`; one byte was left for it there.
void finish_counted(StringInfo out, int start)
{
	const int length = out->len - start - 1;
	char bytes[core::kMaxVarint];
	const int size = core::put_varint(bytes, static_cast<uint64_t>(length));
	if (size > 1) {
		enlargeStringInfo(out, size - 1);
		memmove(out->data + start + size, out->data + start + 1, static_cast<size_t>(length));
		out->len += size - 1;
	}
	memcpy(out->data + start, bytes, static_cast<size_t>(size));
}

void append_image(StringInfo out, const CapturedTable& table, TupleTableSlot* slot)
{
	slot_getsomeattrs(slot, table.last_number);
	for (int i = 0; i < table.columns; ++i) {
		const CapturedColumn& column = table.column[i];
		const int start = out->len;
		appendStringInfoChar(out, '\0');
		if (!slot->tts_isnull[column.number - 1]) append_value(out, column.output, slot->tts_values[column.number - 1]);
		finish_counted(out, start);
	}
}

// The former JSON of every column whose JSON differs. Columns whose bytes are equal need no printing, and a TOASTed value
// that the update left alone is never read.
void append_differences(StringInfo out, const CapturedTable& table, TupleTableSlot* before, TupleTableSlot* after,
                        int image_start)
{
	slot_getsomeattrs(before, table.last_number);
	core::Reader image(std::string_view(out->data + image_start, static_cast<size_t>(out->len - image_start)));
	prepare_scratch(&former);
	int differences = 0;
	// `out` grows only after the loop, so that the views into it stay good.
	for (int i = 0; i < table.columns; ++i) {
		const CapturedColumn& column = table.column[i];
		const std::string_view now = image.counted();
		const int at = column.number - 1;
		const bool was_null = before->tts_isnull[at];
		if (was_null && after->tts_isnull[at]) continue;
		if (!was_null && !after->tts_isnull[at] &&
		    datumIsEqual(before->tts_values[at], after->tts_values[at], column.by_value, column.length))
			continue;
		const int entry = former.len;
		append_varint(&former, static_cast<uint64_t>(i));
		const int start = former.len;
		appendStringInfoChar(&former, '\0');
		if (!was_null) append_value(&former, column.output, before->tts_values[at]);
		const std::string_view then(former.data + start + 1, static_cast<size_t>(former.len - start - 1));
		if (then == now) {
			former.len = entry;
			continue;
		}
		finish_counted(&former, start);
		++differences;
	}
	append_varint(out, static_cast<uint64_t>(differences));
	appendBinaryStringInfo(out, former.data, former.len);
}

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
		const int start = record.len;
		append_image(&record, table, updated && tag != core::Tag::left ? trigger.tg_newslot : trigger.tg_trigslot);
		if (tag == core::Tag::update)
			append_differences(&record, table, trigger.tg_trigslot, trigger.tg_newslot, start);
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
