// Where this server stands in its write-ahead log, which timelines led there, and how far back the log still reaches.
// Runs in the worker, outside network callbacks; needs no transaction. Everything may throw pg::Error.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "pg/postgres.hpp"

namespace plank::pg {

uint64_t system_identifier();
bool in_recovery();
// What may be told to clients ends here: flushed on a primary, replayed on a standby.
uint64_t wal_end();
// Where what has been written so far ends, flushed or not; on a standby the same as wal_end().
uint64_t wal_written_end();
// Has WAL flushed up to there. On a primary.
void flush_wal(uint64_t lsn);
// Where crash recovery or a restarted standby would begin to read: that WAL is there for certain.
uint64_t last_redo();
uint64_t segment_start(uint64_t lsn);
uint64_t next_segment(uint64_t lsn);
// PostgreSQL's spelling of a place, for log lines.
std::string lsn_text(uint64_t lsn);

// Why a place cannot be streamed on from, or that it can.
enum class Judgement : uint8_t {
	good,
	ahead,         // a standby has not replayed it yet
	future,        // a primary has never written it
	other_system,  // another cluster's
	other_past,    // of a timeline that did not lead here, or beyond where that one was left
	removed,       // the WAL needed is not there any more
};

class WalHistory {
 public:
	struct Timeline {
		uint32_t id = 0;
		uint64_t began = 0;
		uint64_t ends = 0;  // 0: it is the present one
	};
	// The one that the record at `lsn` belongs to.
	Timeline timeline_of(uint64_t lsn);
	// `end`: where the commit record of a position ends; `restart`: where reading would have to begin.
	Judgement judge(uint64_t system, uint32_t timeline, uint64_t began, uint64_t end, uint64_t restart);
	// Start of the oldest segment of this history in pg_wal, as it was at most a second ago.
	uint64_t oldest_wal();

 private:
	void refresh();

	uint32_t present_ = 0;             // what `timelines_` was read for
	std::vector<Timeline> timelines_;  // newest first
	uint64_t oldest_ = 0;
	std::chrono::steady_clock::time_point look_again_{};
};

}  // namespace plank::pg
