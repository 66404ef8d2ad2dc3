// Which transactions a snapshot has seen: whoever got its rows must not get them again. Travels in positions, so that a
// subscription that breaks off behind its rows can be resumed. Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plank::core {

// As in PostgreSQL's SnapshotData, for top-level transactions and with 64-bit ids.
struct Seen {
	uint64_t xmin = 0, xmax = 0;
	std::vector<uint64_t> running;  // between the two, sorted

	bool has(uint64_t xid) const noexcept;
	// What follows the stream's own position.
	std::string suffix() const;
};
using SeenPtr = std::shared_ptr<const Seen>;

// Follows a position that a client has before its rows: nothing can be resumed from there, for it holds none.
inline constexpr std::string_view kUnread = "~x";

// A position as clients hold it: the stream's own and perhaps what a snapshot had seen.
struct SplitPosition {
	std::string_view stream;
	SeenPtr seen;
};
// Nothing when what stands behind the stream's position is no snapshot.
std::optional<SplitPosition> split_position(std::string_view position);

}  // namespace plank::core
