// What the live reading of WAL and the reading again of its past share: how a commit record becomes a position, and which
// positions this worker has told its clients. Runs in the worker, outside network callbacks.
#pragma once

// net/ and core/ come before anything of PostgreSQL's.
#include "core/record.hpp"
#include "core/wal_position.hpp"

#include <cstdint>
#include <deque>
#include <string>

#include "pg/wal_history.hpp"
#include "pg/wal_reader.hpp"

namespace plank::worker {

// A commit record that was read.
struct CommitPoint {
	uint64_t begin = 0, end = 0;
	uint32_t xid = 0;
	int64_t time = 0;

	explicit operator bool() const noexcept { return end != 0; }
};

inline CommitPoint commit_point(const pg::WalEvent& event) noexcept
{
	return {event.begin, event.end, event.xid, event.time};
}

class WalStream {
 public:
	pg::WalHistory& history() noexcept { return history_; }

	// `restart`: from where what is still open there can be read whole. Throws pg::Error.
	core::WalPosition position_of(const CommitPoint& point, uint64_t restart);
	// Without a commit record there is nothing to prove it by: no resume but from memory. Throws pg::Error.
	core::WalPosition position_of_place(uint64_t place);

	// The live stream stands at `position`, and clients are told so.
	void told(const core::WalPosition& position);
	// Whether it once did.
	bool has_told(const core::WalPosition& position) const noexcept;
	// A new stream begins: what was told before proves nothing.
	void forget_told() noexcept { told_.clear(); }

 private:
	static constexpr size_t kMostTold = 1 << 16;
	pg::WalHistory history_;
	std::deque<core::WalPosition> told_;  // by ascending end
};

}  // namespace plank::worker
