// Between the hub and the pool of reading processes. Runs in the worker.
#include "worker/row_reader.hpp"

#include <utility>

namespace plank::worker {

namespace {

constexpr auto kFenceAgain = std::chrono::milliseconds(500);
// Privileges have changed since the hub looked. It looks again within a second, and knows better what becomes of the
// subscription: it may go on with other columns.
constexpr auto kHubLooks = std::chrono::milliseconds(1500);

}  // namespace

void RowReader::start(uint64_t number, const core::RowsWanted& wanted)
{
	core::SnapshotRequest request;
	request.relation = wanted.relation;
	request.columns = wanted.columns;
	request.numbers_as_text = wanted.numbers_as_text;
	request.condition = wanted.condition;
	request.role = wanted.role;
	request.claims = wanted.claims;
	const uint64_t id = pool_.start(std::move(request));
	ids_.emplace(number, id);
	numbers_.emplace(id, number);
}

// The session may be going from within a network callback, where the pool must not be touched.
void RowReader::cancel(uint64_t number) noexcept
{
	const auto found = ids_.find(number);
	if (found == ids_.end()) return;
	const uint64_t id = found->second;
	forget(id);
	changed_.push_back({id, Changed::What::cancel});
}

void RowReader::pause(uint64_t number, bool paused) noexcept
{
	if (const auto found = ids_.find(number); found != ids_.end())
		changed_.push_back({found->second, paused ? Changed::What::pause : Changed::What::go_on});
}

// Asked for at the end of the poll: the notification queue may be full, and then it is asked again.
void RowReader::fence(uint64_t number)
{
	const auto found = wal_ends_.find(number);
	fences_.push_back({number, found == wal_ends_.end() ? 0 : found->second});
}

void RowReader::ask_for_fences()
{
	if (fences_.empty() || SnapshotPool::Clock::now() < next_fence_) return;
	next_fence_ = SnapshotPool::Clock::now() + kFenceAgain;
	while (!fences_.empty()) {
		receiver_.fence(fences_.back().number, fences_.back().wal_end);
		fences_.pop_back();
	}
	next_fence_ = {};
}

uint64_t RowReader::forget(uint64_t id) noexcept
{
	const auto found = numbers_.find(id);
	if (found == numbers_.end()) return 0;
	const uint64_t number = found->second;
	numbers_.erase(found);
	ids_.erase(number);
	wal_ends_.erase(number);
	return number;
}

bool RowReader::poll(SnapshotPool::Clock::time_point deadline)
{
	for (const Changed& changed : std::exchange(changed_, {})) {
		if (changed.what == Changed::What::cancel)
			pool_.cancel(changed.id);
		else
			pool_.take_more(changed.id, changed.what == Changed::What::go_on);
	}
	const bool more = pool_.poll(*this, deadline);
	ask_for_fences();
	tell_denied();
	return more;
}

void RowReader::snapshot_began(uint64_t id, core::SnapshotHeader&& header)
{
	const auto found = numbers_.find(id);
	if (found == numbers_.end()) return;
	const uint64_t number = found->second;
	wal_ends_[number] = header.wal_end;
	auto seen = std::make_shared<core::Seen>();
	seen->xmin = header.visibility.xmin;
	seen->xmax = header.visibility.xmax;
	seen->running = std::move(header.visibility.in_progress);
	hub_->snapshot_begun(number, std::move(seen), header.shape);
}

void RowReader::snapshot_rows(uint64_t id, std::string_view rows, uint64_t)
{
	if (const auto found = numbers_.find(id); found != numbers_.end())
		hub_->snapshot_rows(found->second, std::string(rows));
}

void RowReader::snapshot_done(uint64_t id)
{
	if (const uint64_t number = forget(id)) hub_->snapshot_done(number);
}

void RowReader::snapshot_failed(uint64_t id, const core::SnapshotFailure& failure)
{
	const uint64_t number = forget(id);
	if (!number) return;
	// A reader that may no longer read the table is told what any other client would be.
	if (failure.code == "42501" && failure.message != core::kRowSecurityFailed) {
		denied_.push_back({number, SnapshotPool::Clock::now() + kHubLooks});
		return;
	}
	hub_->snapshot_failed(number, {"", failure.code, failure.message, failure.detail, ""}, failure.retry);
}

// Of readings that the hub has given up meanwhile it does not want to hear.
void RowReader::tell_denied()
{
	const auto now = SnapshotPool::Clock::now();
	while (!denied_.empty() && denied_.front().at <= now) {
		const uint64_t number = denied_.front().number;
		denied_.pop_front();
		hub_->snapshot_failed(
		    number,
		    {"", core::code::kUndefinedTable, "table does not exist, is not tracked or may not be read", "", ""},
		    false);
	}
}

}  // namespace plank::worker
