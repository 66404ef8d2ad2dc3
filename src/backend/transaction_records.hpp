// The records of the current transaction in the order they were added, with a stack of savepoints. Runs in ordinary
// sessions. PostgreSQL-style plain data: functions may ereport (out of memory) and own nothing.
//
// All levels share one list of chunks: while a savepoint is open everything added belongs to it, so rolling back to it
// cuts the list, and releasing it forgets the mark. A transport that lets records go early takes them from the end: the
// current level's part, or that and the part of the level around it. The memory is the JSON itself and 16 bytes a record.
#pragma once

#include <cstdint>

#include "backend/table_cache.hpp"
#include "pg/postgres.hpp"

namespace plank::backend {

struct RecordHeader {
	uint64_t ordinal;  // records added before it in this transaction, also those that are gone
	uint32_t command;  // the command that made the change: AFTER triggers fire out of this order when they nest
	uint32_t length;   // of the bytes that follow: tag and content
};

struct RecordChunk {
	RecordChunk* next;
	uint32_t capacity, used;
	char* bytes() noexcept { return reinterpret_cast<char*>(this + 1); }
};

// A place in the list: after `used` bytes of `chunk`, or before all when that is null.
struct RecordPlace {
	RecordChunk* chunk = nullptr;
	uint32_t used = 0;
	uint64_t records = 0, bytes = 0;  // before it
};

// Where the records of a savepoint's level begin.
struct RecordMark {
	int level;
	RecordPlace at;
};

// A table's shape as this transaction numbers it.
struct UsedShape {
	const char* bytes;
	uint32_t length;
	uint64_t stamp;  // the transport's own
};

// Records in the order of commands.
struct RecordIndex {
	const RecordHeader** at;
	uint64_t count;
};

struct TransactionRecords {
	MemoryContext memory = nullptr;  // null: nothing was added
	RecordChunk* first = nullptr;
	RecordChunk* last = nullptr;
	uint64_t records = 0, bytes = 0;
	uint64_t added = 0;
	uint32_t last_command = 0;
	bool in_order = true;

	RecordMark* marks = nullptr;
	int mark_count = 0, mark_capacity = 0;

	uint64_t transaction = 0;  // different for every transaction of the session; set with `memory`
	UsedShape* shapes = nullptr;
	int shape_count = 0, shape_capacity = 0;

	// What was given up because it became too large, or is not recorded here: these tables are reset instead. Rolling back
	// keeps them.
	bool given_up = false;
	Oid* lost = nullptr;
	int lost_count = 0, lost_capacity = 0;

	// A level being released under whose xid records of the level around it were written; 0: none. Should it still roll
	// back, they are gone with it: then the transaction is broken.
	int lent_to = 0;
	bool broken = false;

	bool empty() const noexcept { return records == 0 && !given_up && !broken; }

	uint32_t number_shape(const CapturedTable& table);
	void add(uint32_t command, const char* record, uint32_t length);
	// Drops all records and turns to counting lost tables, beginning with those of the records.
	void give_up();
	void lose(Oid table);

	// Where what a level and those inside it have added begins.
	RecordPlace start_of(int level) const noexcept;
	uint64_t bytes_since(const RecordPlace& place) const noexcept { return bytes - place.bytes; }
	// Sorted by command, then by the order they were added. In `memory`; to be freed by the caller.
	RecordIndex index_since(const RecordPlace& place);
	// Drops what was added after the place.
	void cut(const RecordPlace& place) noexcept;

	void release_level(int level) noexcept;
	void roll_back_level(int level) noexcept;
	// At the end of the transaction; the memory goes with it.
	void forget() noexcept;

 private:
	void prepare();
};

// Calls visit(const RecordHeader&, const char* record) for every record after the place in the order they were added.
// `record` is tag and content.
template <typename Visit>
void for_each_since(const TransactionRecords& records, const RecordPlace& place, Visit&& visit)
{
	RecordChunk* chunk = place.chunk ? place.chunk : records.first;
	uint32_t at = place.chunk ? place.used : 0;
	for (; chunk; chunk = chunk->next, at = 0) {
		while (at < chunk->used) {
			const auto& header = *reinterpret_cast<const RecordHeader*>(chunk->bytes() + at);
			visit(header, reinterpret_cast<const char*>(&header + 1));
			at += static_cast<uint32_t>(MAXALIGN(sizeof header + header.length));
		}
	}
}

// The same for all records in the order of commands; needs memory for an index only when that is another order.
template <typename Visit>
void for_each_in_order(TransactionRecords& records, Visit&& visit)
{
	if (records.in_order) return for_each_since(records, {}, visit);
	const RecordIndex index = records.index_since({});
	for (uint64_t i = 0; i < index.count; ++i)
		visit(*index.at[i], reinterpret_cast<const char*>(index.at[i] + 1));
	pfree(index.at);
}

}  // namespace plank::backend
