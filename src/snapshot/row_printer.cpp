// Prints the executor's rows. Runs in the process that reads, between C frames: it may ereport, it must not throw, and it
// owns nothing with a destructor.
#include "core/value_json.hpp"

#include "snapshot/row_printer.hpp"

#include "backend/output_settings.hpp"

namespace plank::snapshot {

namespace {

struct RowPrinter {
	DestReceiver receiver;  // first: PostgreSQL knows no more of it
	Answers* answers;
	const PrintedColumn* columns;
	int count;
	bool numbers_as_text;
	MemoryContext row_memory;  // reset for every row
	StringInfoData value;      // one whose numbers need a second look
};

void append_column(RowPrinter& printer, StringInfo out, const PrintedColumn& column, Datum value)
{
	// What needs no second look is printed where it shall stand.
	if (column.numbers == core::Numbers::none ||
	    (column.numbers == core::Numbers::scalar && !printer.numbers_as_text)) {
		backend::append_value(out, column.output, value);
		return;
	}
	resetStringInfo(&printer.value);
	backend::append_value(&printer.value, column.output, value);
	const std::string_view text(printer.value.data, static_cast<size_t>(printer.value.len));
	core::append_value_pieces(text, column.numbers, printer.numbers_as_text, [&](std::string_view piece) {
		appendBinaryStringInfo(out, piece.data(), static_cast<int>(piece.size()));
	});
}

bool print_row(TupleTableSlot* slot, DestReceiver* self)
{
	auto& printer = *reinterpret_cast<RowPrinter*>(self);
	slot_getallattrs(slot);
	// A function may have set others, for the query's time.
	backend::pin_output_settings();
	const MemoryContext caller = MemoryContextSwitchTo(printer.row_memory);
	const StringInfo out = printer.answers->begin_row();
	appendStringInfoChar(out, '{');
	for (int i = 0; i < printer.count; ++i) {
		const PrintedColumn& column = printer.columns[i];
		appendBinaryStringInfo(out, column.member, column.member_length);
		if (slot->tts_isnull[i])
			appendBinaryStringInfo(out, "null", 4);
		else
			append_column(printer, out, column, slot->tts_values[i]);
	}
	appendStringInfoChar(out, '}');
	MemoryContextSwitchTo(caller);
	MemoryContextReset(printer.row_memory);
	printer.answers->end_row();
	return true;
}

void start(DestReceiver*, int, TupleDesc) {}
void finish(DestReceiver*) {}

}  // namespace

DestReceiver* make_row_printer(Answers& answers, const PrintedColumn* columns, int count, bool numbers_as_text)
{
	auto* const printer = static_cast<RowPrinter*>(palloc0(sizeof(RowPrinter)));
	printer->receiver.receiveSlot = print_row;
	printer->receiver.rStartup = start;
	printer->receiver.rShutdown = finish;
	printer->receiver.rDestroy = finish;
	printer->receiver.mydest = DestNone;
	printer->answers = &answers;
	printer->columns = columns;
	printer->count = count;
	printer->numbers_as_text = numbers_as_text;
	printer->row_memory = AllocSetContextCreate(CurrentMemoryContext, "plank row", ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&printer->value);
	return &printer->receiver;
}

}  // namespace plank::snapshot
