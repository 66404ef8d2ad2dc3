// Makes chunks of records and writes them as logical messages. Runs in ordinary sessions.
#include "core/chunk.hpp"

#include "backend/chunk_stream.hpp"
#include "pg/compat.hpp"
#include "pg/guard.hpp"
#include "pg/secret.hpp"
#include "pg/session.hpp"
#include "pg/shared_state.hpp"
#include "pg/wal.hpp"

namespace plank::backend {

namespace {

constexpr uint64_t kNoShape = UINT64_MAX;

// The shape that a record names; kNoShape when it is no change.
uint64_t shape_of(const RecordHeader& header)
{
	const auto* const record = reinterpret_cast<const char*>(&header + 1);
	switch (static_cast<core::Tag>(*record)) {
		case core::Tag::message:
		case core::Tag::reset:
		case core::Tag::lost:
			return kNoShape;
		default:
			return core::Reader(std::string_view(record + 1, header.length - 1)).varint();
	}
}

template <typename Visit>
void for_each_run(const RecordHeader** at, uint64_t count, Visit&& visit)
{
	core::KeyRun run;
	for (uint64_t i = 0; i < count; ++i) {
		const core::RecordKey key = {at[i]->command, at[i]->ordinal};
		if (run.count > 0 && !run.precedes(key)) {
			visit(run);
			run.count = 0;
		}
		if (run.count++ == 0) run.first = key;
	}
	visit(run);
}

// A chunk under construction in memory that was measured before. Plain data.
struct Output {
	char* at;

	void varint(uint64_t value) { at += core::put_varint(at, value); }
	void bytes(const char* from, uint64_t length)
	{
		memcpy(at, from, length);
		at += length;
	}
};

}  // namespace

// The end of the last record that this transaction has written is a bound that costs no lock.
void ChunkStream::begin()
{
	if (first_lsn_ != 0) return;
	first_lsn_ = pg::call([] { return XLogRecPtrIsInvalid(XactLastRecEnd) ? GetXLogInsertRecPtr() : XactLastRecEnd; });
	pg::publish_first_message(first_lsn_);
}

// The next three may ereport.

int ChunkStream::put_head(char* out) const
{
	return core::put_chunk_head(out, U64FromFullTransactionId(GetTopFullTransactionId()), next_number_, first_lsn_);
}

// A number counts once its chunk is written: a missing one tells readers of a loss.
void ChunkStream::write_message(const char* content, const char* end)
{
	(void)LogLogicalMessage(prefix_, content, static_cast<Size>(end - content), true, false);
	++next_number_;
}

void ChunkStream::write_chunk(TransactionRecords& records, const RecordHeader** at, uint64_t count)
{
	// What it needs, measured; every shape it names is stamped with the chunk's number.
	const uint64_t stamp = next_number_ + 1;
	uint64_t size = core::kMaxChunkHead, runs = 0, shapes = 0;
	for (uint64_t i = 0; i < count; ++i) {
		size += core::varint_size(at[i]->length - 1) + at[i]->length;
		const uint64_t number = shape_of(*at[i]);
		if (number == kNoShape || records.shapes[number].stamp == stamp) continue;
		UsedShape& shape = records.shapes[number];
		shape.stamp = stamp;
		++shapes;
		size += core::varint_size(number) + core::varint_size(shape.length) + shape.length;
	}
	for_each_run(at, count, [&](const core::KeyRun& run) {
		++runs;
		size +=
		    core::varint_size(run.first.command) + core::varint_size(run.first.ordinal) + core::varint_size(run.count);
	});
	size += core::varint_size(runs) + core::varint_size(shapes);

	auto* const content = static_cast<char*>(MemoryContextAllocHuge(records.memory, size));
	Output out = {content};
	out.at += put_head(out.at);
	out.varint(runs);
	for_each_run(at, count, [&](const core::KeyRun& run) { out.at += core::put_key_run(out.at, run); });
	out.varint(shapes);
	for (int i = 0; i < records.shape_count; ++i) {
		if (records.shapes[i].stamp != stamp) continue;
		out.varint(static_cast<uint64_t>(i));
		out.varint(records.shapes[i].length);
		out.bytes(records.shapes[i].bytes, records.shapes[i].length);
	}
	for (uint64_t i = 0; i < count; ++i) {
		const auto* const record = reinterpret_cast<const char*>(at[i] + 1);
		*out.at++ = *record;
		out.varint(at[i]->length - 1);
		out.bytes(record + 1, at[i]->length - 1);
	}
	write_message(content, out.at);
	pfree(content);
}

void ChunkStream::write(TransactionRecords& records, const RecordPlace& since)
{
	prefix_ = pg::message_prefix();
	// The extension is gone, dropped by this very transaction: so are those who would listen.
	if (!prefix_ || records.bytes_since(since) == 0) return;
	begin();
	pg::call([&] {
		const RecordIndex index = records.index_since(since);
		uint64_t from = 0, bytes = 0;
		for (uint64_t i = 0; i < index.count; ++i) {
			if (i > from && bytes + index.at[i]->length > core::kChunkBytes) {
				write_chunk(records, index.at + from, i - from);
				from = i;
				bytes = 0;
			}
			bytes += index.at[i]->length;
		}
		write_chunk(records, index.at + from, index.count - from);
		pfree(index.at);
	});
}

void ChunkStream::write_lost(const TransactionRecords& records, bool all)
{
	prefix_ = pg::message_prefix();
	if (!prefix_) return;
	begin();
	pg::call([&] {
		uint64_t length = 0;
		for (int i = 0; !all && i < records.lost_count; ++i)
			length += core::varint_size(records.lost[i]);
		if (length > core::kChunkBytes) length = 0;
		auto* const content =
		    static_cast<char*>(palloc(core::kMaxChunkHead + core::kMaxKeyRun + 4 * core::kMaxVarint + length));
		Output out = {content};
		out.at += put_head(out.at);
		out.varint(1);
		// After all that the transaction did.
		out.at += core::put_key_run(out.at, {{UINT32_MAX, records.added}, 1});
		out.varint(0);
		*out.at++ = static_cast<char>(core::Tag::lost);
		out.varint(length);
		for (int i = 0; length > 0 && i < records.lost_count; ++i)
			out.varint(records.lost[i]);
		write_message(content, out.at);
		pfree(content);
	});
}

void ChunkStream::prepare()
{
	if (has_written()) pg::call([] { pg::keep_first_message(U64FromFullTransactionId(GetTopFullTransactionId())); });
}

void ChunkStream::end() noexcept
{
	if (first_lsn_ != 0) pg::clear_first_message();
	*this = ChunkStream{};
}

namespace {
constinit ChunkStream stream;
}

ChunkStream& chunk_stream() noexcept { return stream; }

}  // namespace plank::backend
