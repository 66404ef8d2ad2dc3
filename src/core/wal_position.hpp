// A position of the transport `wal` as clients hold it: a commit record and the proof that it is the same one.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plank::core {

// Everything up to `end` has been delivered. Two copies of a data directory share identifier and timelines, so the commit
// record itself is read again and compared before anything is streamed on from it.
struct WalPosition {
	uint64_t system = 0;          // identifier of the cluster
	uint32_t timeline = 0;        // of the commit record
	uint64_t timeline_began = 0;  // two servers that were promoted apart give their timelines the same number
	uint64_t end = 0;             // of the commit record; 0: no position
	uint32_t xid = 0;             // of the transaction that it commits
	int64_t time = 0;             // of the commit
	uint64_t restart = 0;         // from here every transaction that was not delivered by then can be read whole
	uint32_t database = 0;        // whose changes were delivered: the WAL holds those of all

	bool operator==(const WalPosition&) const = default;
	explicit operator bool() const noexcept { return end != 0; }
	std::string text() const;
	// Nothing when `text` is no such position.
	static std::optional<WalPosition> read(std::string_view text);
};

}  // namespace plank::core
