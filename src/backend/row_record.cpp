// Writes rows into records. Runs in ordinary sessions, inside pg::call.
#include "core/bytes.hpp"

#include "backend/row_record.hpp"

#include "pg/session.hpp"

namespace plank::backend {

namespace {

// For former values; kept between rows.
StringInfoData former;
constexpr int kLargestScratch = 1024 * 1024;

}  // namespace

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

namespace {

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

// Which print of a column: its JSON, or what stands beside that for those who need it.
using Print = const ValueOutput* CapturedColumn::*;
constexpr Print kJson = &CapturedColumn::output, kText = &CapturedColumn::text;

template <Print kPrint>
bool is_printed(const CapturedColumn& column)
{
	return kPrint == kJson || column.*kPrint;
}

template <Print kPrint>
void append_image(StringInfo out, const CapturedTable& table, TupleTableSlot* slot)
{
	for (int i = 0; i < table.columns; ++i) {
		const CapturedColumn& column = table.column[i];
		if (!is_printed<kPrint>(column)) continue;
		const int at = column.number - 1, start = out->len;
		appendStringInfoChar(out, '\0');
		if (!slot->tts_isnull[at]) append_value(out, column.*kPrint, slot->tts_values[at]);
		finish_counted(out, start);
	}
}

// The former print of every column whose print differs from the one in `out` from `image_start` on. Columns whose bytes are
// equal need no printing, and a TOASTed value that the update left alone is never read.
template <Print kPrint>
void append_differences(StringInfo out, const CapturedTable& table, TupleTableSlot* before, TupleTableSlot* after,
                        int image_start)
{
	core::Reader image(std::string_view(out->data + image_start, static_cast<size_t>(out->len - image_start)));
	prepare_scratch(&former);
	int differences = 0, number = -1;
	// `out` grows only after the loop, so that the views into it stay good.
	for (int i = 0; i < table.columns; ++i) {
		const CapturedColumn& column = table.column[i];
		if (!is_printed<kPrint>(column)) continue;
		++number;
		const std::string_view now = image.counted();
		const int at = column.number - 1;
		const bool was_null = before->tts_isnull[at];
		// The JSON tells that it was null.
		if (was_null && (kPrint == kText || after->tts_isnull[at])) continue;
		if (!was_null && !after->tts_isnull[at] &&
		    datumIsEqual(before->tts_values[at], after->tts_values[at], column.by_value, column.length))
			continue;
		const int entry = former.len;
		append_varint(&former, static_cast<uint64_t>(number));
		const int start = former.len;
		appendStringInfoChar(&former, '\0');
		if (!was_null) append_value(&former, column.*kPrint, before->tts_values[at]);
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

// The row, and after an update what the former one has instead.
template <Print kPrint>
void append_prints(StringInfo out, const CapturedTable& table, TupleTableSlot* before, TupleTableSlot* row)
{
	const int start = out->len;
	append_image<kPrint>(out, table, row);
	if (before) append_differences<kPrint>(out, table, before, row, start);
}

}  // namespace

void append_row(StringInfo out, const CapturedTable& table, TupleTableSlot* before, TupleTableSlot* row)
{
	slot_getsomeattrs(row, table.last_number);
	if (before) slot_getsomeattrs(before, table.last_number);
	append_prints<kJson>(out, table, before, row);
	if (unlikely(table.texts > 0)) append_prints<kText>(out, table, before, row);
}

}  // namespace plank::backend
