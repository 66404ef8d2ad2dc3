// What this session writes into WAL of its current transaction: chunks (core/chunk.hpp), one logical message each, and
// the counting and publishing that goes with them. Runs in ordinary sessions, with every transport.
#pragma once

#include "backend/transaction_records.hpp"

namespace plank::backend {

class ChunkStream {
 public:
	// Writes what was added after the place under the current (sub)transaction's xid, in chunks of about 64 kB. Throws
	// pg::Error.
	void write(TransactionRecords& records, const RecordPlace& since);
	// Writes that the lost tables of the records must be reset, or that all must be. Throws pg::Error.
	void write_lost(const TransactionRecords& records, bool all);

	// Whether the transaction has written anything.
	bool has_written() const noexcept { return next_number_ > 0; }

	// The transaction is about to be prepared, everything written. Throws pg::Error.
	void prepare();
	// It has ended, one way or the other.
	void end() noexcept;

 private:
	void begin();
	void write_chunk(TransactionRecords& records, const RecordHeader** records_at, uint64_t count);
	int put_head(char* out) const;
	void write_message(const char* content, const char* end);

	const char* prefix_ = nullptr;
	uint64_t first_lsn_ = 0;
	uint64_t next_number_ = 0;
};

// The session's one.
ChunkStream& chunk_stream() noexcept;

}  // namespace plank::backend
