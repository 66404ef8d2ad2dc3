// Passes over the past. Runs in the worker, outside network callbacks.
#include "worker/wal_replay.hpp"

#include <algorithm>
#include <utility>

#include "pg/guard.hpp"

namespace plank::worker {

namespace {

constexpr const char* kNotFound = "the position is not in this server's write-ahead log";
constexpr const char* kRemoved = "the write-ahead log does not reach back to the position";
constexpr const char* kOther = "the position is from another history of the database";
constexpr const char* kBroken = "the write-ahead log could not be read";
constexpr int kEventsBetweenLooks = 64;  // at the clock

}  // namespace

WalReplay::Pass::Pass(uint32_t database, const std::string& prefix, core::Assembler::Limits limits)
    : assembler(shapes, std::move(limits)), reader(database, prefix, prefix)
{
	// A position says from where on everything after it is whole.
	assembler.prove({});
}

void WalReplay::configure(uint32_t database, const std::string& prefix)
{
	if (database_ == database && prefix_ == prefix) return;
	if (pass_) end(kBroken);
	database_ = database;
	prefix_ = prefix;
}

core::Found WalReplay::find(std::string_view text, const core::TransactionLog& log)
{
	using Kind = core::Found::Kind;
	const auto lost = [](const char* reason) { return core::Found{Kind::lost, 0, reason}; };
	const std::optional<core::WalPosition> position = core::WalPosition::read(text);
	if (!position) return {Kind::malformed, 0, ""};
	if (position->database != MyDatabaseId) return lost("the position is from another database");
	// What is in the WAL but not in the log yet comes behind where a subscription that starts now would begin, which would tell
	// it again.
	const core::Found soon = {Kind::later, 0, "this worker has not come to the position"};
	const bool ahead = position->end > hub_->place();
	if (stream_.has_told(*position) && position->end >= log.complete_from())
		return ahead ? soon : core::Found{Kind::in_log, log.first_after(position->end), ""};
	switch (stream_.history().judge(position->system, position->timeline, position->timeline_began, position->end,
	                                position->restart)) {
		case pg::Judgement::good:
			// One that was told before any commit record was read has nothing to be proven by.
			if (position->time == 0 && position->xid == 0) return lost(kNotFound);
			return ahead ? soon : core::Found{Kind::replay, 0, ""};
		case pg::Judgement::ahead:
			return {Kind::later, 0, "this standby has not come to the position"};
		case pg::Judgement::future:
			return lost(kNotFound);
		case pg::Judgement::other_system:
			return lost("the position is from another database cluster");
		case pg::Judgement::other_past:
			return lost(kOther);
		case pg::Judgement::removed:
			return lost(kRemoved);
	}
	return lost(kNotFound);
}

void WalReplay::want(uint64_t ticket, std::string_view text)
{
	const std::optional<core::WalPosition> position = core::WalPosition::read(text);
	if (!position) return;
	// Whoever needs nothing that the pass has left behind can still join it.
	if (pass_ && position->restart >= pass_->reader.position()) pass_->tickets.emplace(position->end, ticket);
	waiting_.emplace(ticket, *position);
	more_ = true;
}

void WalReplay::forget(uint64_t ticket) noexcept
{
	waiting_.erase(ticket);
	if (pass_) std::erase_if(pass_->tickets, [&](const auto& each) { return each.second == ticket; });
}

void WalReplay::step(Clock::time_point deadline, uint64_t live)
{
	more_ = false;
	if (!hub_ || (!pass_ && !begin(live))) return;
	if (hub_->replay_is_full()) return;
	const uint64_t before = pass_->reader.position();
	const bool goes_on = go_on(deadline);
	if (pass_) bytes_read_ += pass_->reader.position() - before;
	if (pass_ && !goes_on) end(nullptr);
	more_ = pass_ ? !hub_->replay_is_full() : !waiting_.empty();
}

// False when nobody can be served now.
bool WalReplay::begin(uint64_t live)
{
	while (!waiting_.empty()) {
		auto pass = std::make_unique<Pass>(database_, prefix_, limits_);
		uint64_t from = UINT64_MAX;
		for (const auto& [ticket, position] : waiting_) {
			if (position.end > live) continue;
			pass->tickets.emplace(position.end, ticket);
			from = std::min(from, position.restart);
		}
		if (pass->tickets.empty()) return false;
		switch (pass->reader.start(from)) {
			case pg::WalReader::Start::found:
				pass_ = std::move(pass);
				hub_->replay_begun();
				return true;
			case pg::WalReader::Start::later:
				return false;
			case pg::WalReader::Start::gone:
				break;
		}
		// Whoever needs this place is too late; the others may still be served.
		std::vector<uint64_t> late;
		for (const auto& [ticket, position] : waiting_)
			if (position.end <= live && position.restart <= from) late.push_back(ticket);
		for (const uint64_t ticket : late)
			refuse(ticket, kRemoved);
	}
	return false;
}

// False when the pass is over.
bool WalReplay::go_on(Clock::time_point deadline)
{
	Pass& pass = *pass_;
	for (int events = 1;; ++events) {
		if (pass.assembly) {
			if (!pass.assembly->step(deadline)) return true;
			deliver();
			if (hub_->replay_is_full()) return true;
		}
		if (pass.tickets.empty() && !pass.needed) return false;
		if (events % kEventsBetweenLooks == 0 && Clock::now() >= deadline) break;
		const pg::WalEvent event = pass.reader.next(deadline);
		if (!take(event)) return false;
		if (event.kind == pg::WalEvent::Kind::time_up) break;
	}
	passed(pass.reader.position());
	return true;
}

// False when nothing more can come of the pass; it may have been ended here.
bool WalReplay::take(const pg::WalEvent& event)
{
	Pass& pass = *pass_;
	const auto count = static_cast<size_t>(event.count);
	switch (event.kind) {
		case pg::WalEvent::Kind::message:
			if (pass.assembler.add(event.xid, event.bytes)) return true;
			end(kBroken);
			return false;
		case pg::WalEvent::Kind::commit:
			take_commit(event);
			return pass_ != nullptr;
		case pg::WalEvent::Kind::abort:
			pass.assembler.abort(event.xid, event.xids, count);
			return true;
		case pg::WalEvent::Kind::prepare:
			pass.assembler.prepare(event.xid);
			return true;
		case pg::WalEvent::Kind::running:
			pass.assembler.running(event.xids, count, event.next_xid);
			return true;
		case pg::WalEvent::Kind::restart:
			pass.assembler.restarted();
			return true;
		case pg::WalEvent::Kind::time_up:
			return true;
		case pg::WalEvent::Kind::nothing: {
			// Everything there is has been read, and all who wait are for places before.
			passed(event.end);
			return false;
		}
		case pg::WalEvent::Kind::broken:
			end(kBroken);
			return false;
	}
	return true;
}

void WalReplay::take_commit(const pg::WalEvent& event)
{
	Pass& pass = *pass_;
	std::unique_ptr<core::Assembly> assembly;
	const core::Assembler::Outcome outcome =
	    pass.assembler.commit(event.xid, event.xids, static_cast<size_t>(event.count), assembly);
	pass.point = commit_point(event);
	if (pass.needed && outcome != core::Assembler::Outcome::nothing) passed(event.begin);
	if (pass.needed && outcome == core::Assembler::Outcome::unknown) return end(kBroken);
	// Tickets at this place are met when the transaction has been delivered to those before.
	if (pass.needed && assembly)
		pass.assembly = std::move(assembly);
	else
		meet_tickets(pass.point);
}

void WalReplay::deliver()
{
	Pass& pass = *pass_;
	core::Transaction transaction = pass.assembly->take();
	pass.assembly.reset();
	transaction.committed_at = pass.point.time;
	transaction.place = pass.point.end;
	transaction.position = stream_.position_of(pass.point, pass.assembler.restart()).text();
	hub_->replay(std::move(transaction));
	passed(pass.point.end);
	meet_tickets(pass.point);
}

void WalReplay::meet_tickets(const CommitPoint& point)
{
	Pass& pass = *pass_;
	while (!pass.tickets.empty() && pass.tickets.begin()->first <= point.end) {
		const auto [end, ticket] = *pass.tickets.begin();
		pass.tickets.erase(pass.tickets.begin());
		const auto found = waiting_.find(ticket);
		if (found == waiting_.end()) continue;
		const core::WalPosition& position = found->second;
		if (end != point.end || position.xid != point.xid || position.time != point.time) {
			refuse(ticket, end == point.end ? kOther : kNotFound);
			continue;
		}
		waiting_.erase(found);
		hub_->replay_verified(ticket);
		pass.needed = hub_->replay_passed(point.end);
	}
}

void WalReplay::passed(uint64_t place)
{
	if (pass_->needed) pass_->needed = hub_->replay_passed(place);
}

void WalReplay::refuse(uint64_t ticket, const char* reason)
{
	waiting_.erase(ticket);
	hub_->replay_refused(ticket, reason);
}

void WalReplay::give_up()
{
	if (pass_) end(kBroken);
}

// `broken`: why it ends before its time.
void WalReplay::end(const char* broken)
{
	const std::unique_ptr<Pass> pass = std::move(pass_);
	if (broken) hub_->replay_broken(broken);
	for (const auto& [place, ticket] : pass->tickets)
		refuse(ticket, broken ? broken : kNotFound);
	hub_->replay_ended();
}

}  // namespace plank::worker
