// Writing, reading and checking chunks. Runs in every process. Must not call PostgreSQL.
#include "core/chunk.hpp"

#include <algorithm>

namespace plank::core {

namespace {

constexpr char kFormat = '1';

// A run that is empty or that no transaction could count to is a fault.
KeyRun read_run(Reader& keys) noexcept
{
	const uint64_t command = keys.varint();
	const uint64_t ordinal = keys.varint();
	const uint64_t count = keys.varint();
	if (command > UINT32_MAX || count == 0 || ordinal > UINT64_MAX - count) keys.fail();
	if (!keys.ok()) return {};
	return {{static_cast<uint32_t>(command), ordinal}, count};
}

bool read_keys(Reader& reader, Chunk& chunk)
{
	const uint64_t runs = reader.varint();
	const char* const start = reader.at();
	chunk.count = 0;
	for (uint64_t i = 0; i < runs && reader.ok(); ++i) {
		const KeyRun run = read_run(reader);
		if (!reader.ok()) break;
		if (i == 0)
			chunk.first = run.first;
		else if (run.first <= chunk.last)
			return false;
		chunk.last = {run.first.command, run.first.ordinal + run.count - 1};
		if (chunk.count + run.count < run.count) return false;
		chunk.count += run.count;
	}
	if (!reader.ok() || runs == 0) return false;
	chunk.keys = {start, static_cast<size_t>(reader.at() - start)};
	return true;
}

bool read_shapes(Reader& reader, Chunk& chunk)
{
	const uint64_t shapes = reader.varint();
	chunk.shapes.clear();
	for (uint64_t i = 0; i < shapes && reader.ok(); ++i) {
		const uint64_t number = reader.varint();
		const std::string_view encoded = reader.counted();
		if (number > UINT32_MAX || (i > 0 && number <= chunk.shapes.back().number)) return false;
		chunk.shapes.push_back({static_cast<uint32_t>(number), encoded});
	}
	return reader.ok();
}

bool check_records(const Chunk& chunk)
{
	Reader reader(chunk.records);
	Record record;
	uint64_t count = 0;
	while (next_record(reader, record)) {
		if (record.is_change() && !chunk.shape(record.shape)) return false;
		++count;
	}
	return reader.ok() && count == chunk.count;
}

}  // namespace

int put_chunk_head(char* out, uint64_t xid, uint64_t number, uint64_t first_lsn) noexcept
{
	int at = 0;
	out[at++] = kFormat;
	at += put_varint(out + at, xid);
	at += put_varint(out + at, number);
	at += put_varint(out + at, first_lsn);
	return at;
}

int put_key_run(char* out, const KeyRun& run) noexcept
{
	int at = put_varint(out, run.first.command);
	at += put_varint(out + at, run.first.ordinal);
	at += put_varint(out + at, run.count);
	return at;
}

const ChunkShape* Chunk::shape(uint32_t wanted) const noexcept
{
	const auto found = std::lower_bound(shapes.begin(), shapes.end(), wanted,
	                                    [](const ChunkShape& each, uint32_t value) { return each.number < value; });
	return found != shapes.end() && found->number == wanted ? &*found : nullptr;
}

bool read_chunk(std::string_view bytes, Chunk& chunk)
{
	Reader reader(bytes);
	if (reader.byte() != kFormat) return false;
	chunk.xid = reader.varint();
	chunk.number = reader.varint();
	chunk.first_lsn = reader.varint();
	if (!reader.ok() || chunk.xid == 0 || chunk.first_lsn == 0) return false;
	if (!read_keys(reader, chunk) || !read_shapes(reader, chunk)) return false;
	chunk.records = reader.rest();
	return check_records(chunk);
}

bool ChunkRecords::next() noexcept
{
	const char* const start = records_.at();
	if (!next_record(records_, record_)) return false;
	bytes_ = {start, static_cast<size_t>(records_.at() - start)};
	if (left_ > 0) {
		++key_.ordinal;
		--left_;
		return true;
	}
	const KeyRun run = read_run(keys_);
	key_ = run.first;
	left_ = run.count - 1;
	return keys_.ok();
}

}  // namespace plank::core
