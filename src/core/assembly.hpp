// A committed transaction's chunks on their way to becoming a Transaction: put in the order of their keys, and merged where
// they overlap. Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/append_file.hpp"
#include "core/chunk.hpp"
#include "core/record.hpp"

namespace plank::core {

// A chunk that was read and checked, as it is kept until its transaction ends.
struct KeptChunk {
	uint32_t xid = 0;       // the (sub)transaction that wrote it
	RecordKey first, last;  // of its records
	std::string bytes;      // empty when it is in the transaction's file
	uint64_t offset = 0, length = 0;
	size_t records_at = 0;  // where in its bytes the records begin
	uint64_t changes = 0, messages = 0, others = 0;
	std::vector<std::pair<uint32_t, OpSet>> ops;  // by shape number

	bool in_file() const noexcept { return bytes.empty(); }
	size_t memory() const noexcept
	{
		return sizeof(KeptChunk) + bytes.capacity() + ops.capacity() * sizeof(std::pair<uint32_t, OpSet>);
	}
};

// Whose subscribers must start anew when a transaction cannot be delivered.
struct Concerned {
	std::set<uint32_t> relations;
	bool all = false;  // channels have no other way to be told
};

class Assembly {
 public:
	using Clock = std::chrono::steady_clock;

	// `chunks`: what was committed, in any order. `file`: where those that are in a file are; may be null.
	Assembly(uint64_t xid, std::vector<KeptChunk>&& chunks, std::vector<ShapePtr>&& shapes, Concerned&& concerned,
	         std::unique_ptr<AppendFile>&& file, std::string directory);
	// What happened is not known: its tables' subscribers are told to start anew.
	static std::unique_ptr<Assembly> lost(uint64_t xid, Concerned&& concerned);

	// Works until `deadline`; true when it is done.
	bool step(Clock::time_point deadline);
	// Once it is done. Position, place and time are the caller's to fill in.
	Transaction take();
	// Disk trouble on the way, or "".
	const std::string& error() const noexcept { return error_; }

 private:
	// A chunk that is being merged with others.
	struct Cursor {
		size_t chunk;
		ChunkRecords records;
	};
	struct Part {
		std::string text;  // empty: in a file
		size_t from = 0;
		bool merged_file = false;
		uint64_t offset = 0, length = 0;
	};

	Assembly() = default;
	std::string_view bytes_of(const KeptChunk& chunk) const noexcept;
	bool open_cursor();
	bool merge(Clock::time_point deadline);
	void pass_whole();
	bool flush_merged(size_t at_least);
	void finish();
	void lose();

	uint64_t xid_ = 0;
	std::vector<KeptChunk> chunks_;
	std::vector<ShapePtr> shapes_;
	Concerned concerned_;
	std::unique_ptr<AppendFile> file_, merged_file_;
	std::shared_ptr<const AppendFile::Mapping> mapping_;
	std::string directory_, error_;

	size_t next_ = 0;              // chunk to be looked at
	std::vector<Cursor> cursors_;  // a heap, lowest key first
	std::string merged_;
	std::vector<Part> parts_;
	Contents contents_;
	bool lost_ = false, done_ = false;
	Transaction transaction_;
};

}  // namespace plank::core
