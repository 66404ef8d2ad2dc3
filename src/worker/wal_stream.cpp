// Positions of the WAL stream. Runs in the worker, outside network callbacks.
#include "worker/wal_stream.hpp"

#include <algorithm>

namespace plank::worker {

core::WalPosition WalStream::position_of(const CommitPoint& point, uint64_t restart)
{
	const pg::WalHistory::Timeline timeline = history_.timeline_of(point.begin);
	return {pg::system_identifier(),        timeline.id, timeline.began, point.end, point.xid, point.time,
	        std::min(point.begin, restart), MyDatabaseId};
}

core::WalPosition WalStream::position_of_place(uint64_t place)
{
	const pg::WalHistory::Timeline timeline = history_.timeline_of(place);
	return {pg::system_identifier(), timeline.id, timeline.began, place, 0, 0, place, MyDatabaseId};
}

void WalStream::told(const core::WalPosition& position)
{
	if (!told_.empty() && told_.back().end >= position.end) return;
	if (told_.size() >= kMostTold) told_.pop_front();
	told_.push_back(position);
}

bool WalStream::has_told(const core::WalPosition& position) const noexcept
{
	const auto found = std::lower_bound(told_.begin(), told_.end(), position.end,
	                                    [](const core::WalPosition& each, uint64_t end) { return each.end < end; });
	if (found == told_.end()) return false;
	// Another worker of the same data may have known a later place to begin reading at.
	core::WalPosition same = position;
	same.restart = found->restart;
	return same == *found;
}

}  // namespace plank::worker
