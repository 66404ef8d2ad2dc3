// A chunk: what one logical message of `plank.transport = 'wal'` holds, a piece of one transaction's records. Sessions
// write chunks, the worker and replays read them. Runs in every process. Must not call PostgreSQL.
//
//   chunk   := '1' varint(top-level full xid) varint(number) varint(first LSN) keys shapes record*
//   keys    := varint(n) (varint(command) varint(first ordinal) varint(count))*
//   shapes  := varint(n) (varint(shape number) counted(shape))*
//   record  as in core/record.hpp
//
// Number: 0, 1, 2 ... over all chunks the transaction wrote, also those that a savepoint took back. First LSN: where the
// transaction's first message begins, or before that. Ordinal: how many records the transaction had added before this one;
// never used twice. (command, ordinal) is the order of delivery, and the order within a chunk, but chunks overlap: a
// savepoint level's records are written while that level is the current one, so an outer level's earlier records may
// come later. Keys are runs of records of one command with consecutive ordinals. Shapes are those that this chunk's
// changes name, by ascending number; a number means the same in all chunks of a transaction.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <compare>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/bytes.hpp"
#include "core/record.hpp"

namespace plank::core {

// A message's prefix: this, then the database's secret as hex digits. Anybody may write messages; whoever does not know
// the secret writes forged ones.
constexpr std::string_view kChunkPrefix = "plank:";
constexpr size_t kSecretLength = 32;

constexpr uint64_t kChunkBytes = 64 * 1024;                 // about; a record is never cut
constexpr uint64_t kMostRecordBytes = 64ull * 1024 * 1024;  // larger ones become a reset of their table

struct RecordKey {
	uint32_t command = 0;
	uint64_t ordinal = 0;
	auto operator<=>(const RecordKey&) const = default;
};

// `count` records of one command with consecutive ordinals.
struct KeyRun {
	RecordKey first;
	uint64_t count = 0;

	bool precedes(RecordKey key) const noexcept
	{
		return key.command == first.command && key.ordinal == first.ordinal + count;
	}
};

// Writing. Each returns the bytes put to `out`, which holds the constant's.
constexpr size_t kMaxChunkHead = 1 + 3 * kMaxVarint;
int put_chunk_head(char* out, uint64_t xid, uint64_t number, uint64_t first_lsn) noexcept;
constexpr size_t kMaxKeyRun = 3 * kMaxVarint;
int put_key_run(char* out, const KeyRun& run) noexcept;

struct ChunkShape {
	uint32_t number = 0;
	std::string_view encoded;
};

// A chunk as views into its bytes.
struct Chunk {
	uint64_t xid = 0, number = 0, first_lsn = 0;
	uint64_t count = 0;     // of records
	RecordKey first, last;  // of its records
	std::string_view keys;  // the runs
	std::vector<ChunkShape> shapes;
	std::string_view records;

	// Null when the chunk does not name it.
	const ChunkShape* shape(uint32_t number) const noexcept;
};

// Reads and checks a chunk: false when it is none. What is left to check is that shapes can be decoded and that changes
// have their columns.
bool read_chunk(std::string_view bytes, Chunk& chunk);

// The records of a chunk that read_chunk accepted, one by one, with their keys.
class ChunkRecords {
 public:
	ChunkRecords() = default;
	explicit ChunkRecords(const Chunk& chunk) noexcept : keys_(chunk.keys), records_(chunk.records) {}

	// The next record; false at the end.
	bool next() noexcept;
	const RecordKey& key() const noexcept { return key_; }
	const Record& record() const noexcept { return record_; }
	// Tag and counted content, as a body holds them.
	std::string_view bytes() const noexcept { return bytes_; }

 private:
	Reader keys_{{}}, records_{{}};
	uint64_t left_ = 0;  // of the run, after this record
	RecordKey key_;
	Record record_;
	std::string_view bytes_;
};

}  // namespace plank::core
