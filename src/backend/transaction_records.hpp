// The records of the current transaction in the order they were added, with a stack of savepoints. Runs in ordinary
// sessions. PostgreSQL-style plain data: functions may ereport (out of memory) and own nothing.
//
// All levels share one list of chunks: while a savepoint is open everything added belongs to it, so rolling back to it
// cuts the list, and releasing it forgets the mark. The memory is the JSON itself and eight bytes a record.
#pragma once

#include <cstdint>

#include "backend/table_cache.hpp"
#include "pg/postgres.hpp"

namespace plank::backend {

struct RecordHeader {
	uint32_t command;  // the command that made the change: AFTER triggers fire out of this order when they nest
	uint32_t length;   // of the bytes that follow: tag and content
};

struct RecordChunk {
	RecordChunk* next;
	uint32_t capacity, used;
	char* bytes() noexcept { return reinterpret_cast<char*>(this + 1); }
};

struct RecordMark {
	int level;
	RecordChunk* chunk;
	uint32_t used;
	uint64_t records, bytes;
};

// A table's shape as this transaction numbers it.
struct UsedShape {
	const char* bytes;
	uint32_t length;
};

struct TransactionRecords {
	MemoryContext memory = nullptr;  // null: nothing was added
	RecordChunk* first = nullptr;
	RecordChunk* last = nullptr;
	uint64_t records = 0, bytes = 0;
	uint32_t last_command = 0;
	bool in_order = true;

	RecordMark* marks = nullptr;
	int mark_count = 0, mark_capacity = 0;

	uint64_t transaction = 0;  // different for every transaction of the session; set with `memory`
	UsedShape* shapes = nullptr;
	int shape_count = 0, shape_capacity = 0;

	// What was given up because it became too large: these tables are reset instead. Rolling back keeps them.
	bool given_up = false;
	Oid* lost = nullptr;
	int lost_count = 0, lost_capacity = 0;

	bool empty() const noexcept { return records == 0 && !given_up; }

	uint32_t number_shape(const CapturedTable& table);
	void add(uint32_t command, const char* record, uint32_t length);
	// Drops all records and turns to counting lost tables.
	void give_up();
	void lose(Oid table);
	void release_level(int level) noexcept;
	void roll_back_level(int level) noexcept;
	// At the end of the transaction; the memory goes with it.
	void forget() noexcept;

 private:
	void prepare();
};

// Calls visit(const char* record, uint32_t length) for every record in the order of commands. Needs memory for an index
// only when the records are out of order. May ereport.
template <typename Visit>
void for_each_in_order(TransactionRecords& records, Visit&& visit);

// An index of the records sorted by command, then by the order they were added; null when they are in order already.
const RecordHeader** sorted_index(TransactionRecords& records);

template <typename Visit>
void for_each_in_order(TransactionRecords& records, Visit&& visit)
{
	if (!records.in_order) {
		const RecordHeader** index = sorted_index(records);
		for (uint64_t i = 0; i < records.records; ++i)
			visit(reinterpret_cast<const char*>(index[i] + 1), index[i]->length);
		return;
	}
	for (RecordChunk* chunk = records.first; chunk; chunk = chunk->next) {
		for (uint32_t at = 0; at < chunk->used;) {
			RecordHeader header;
			memcpy(&header, chunk->bytes() + at, sizeof header);
			visit(chunk->bytes() + at + sizeof header, header.length);
			at += static_cast<uint32_t>(MAXALIGN(sizeof header + header.length));
		}
	}
}

}  // namespace plank::backend
