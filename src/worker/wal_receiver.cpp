// Following the WAL: from where, how far, and what is told. Runs in the worker, outside network callbacks.
#include "worker/wal_receiver.hpp"

#include <algorithm>
#include <utility>

#include "pg/guard.hpp"
#include "pg/notifications.hpp"
#include "pg/process.hpp"
#include "pg/running.hpp"
#include "pg/secret.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

using std::chrono::milliseconds;

// How far before the end reading begins, if that WAL is there; a tenth of a second's work.
constexpr uint64_t kHistory = 64 << 20;
// How far back it may begin for the sake of transactions that are open; seconds' work.
constexpr uint64_t kFarthest = uint64_t{2} << 30;
constexpr auto kSeekAgain = milliseconds(100);
// What the live stream leaves of a turn is the past's, and at least this.
constexpr auto kReplayTime = milliseconds(2);
// What committed without waiting for its flush is on disk within three rounds of the WAL writer.
constexpr auto kActive = milliseconds(1000);
constexpr long kUnflushed = 5;  // ms between looks
constexpr long kStandby = 2;    // while WAL is replayed
constexpr long kStandbyIdle = 10;
constexpr long kIdle = 100;
constexpr long kAlone = 500;  // no client is connected
// WAL of others between two looks: looked at more often above the first, less often below the second.
constexpr uint64_t kMuch = 1 << 20, kLittle = 128 << 10;

long held_patience(WalReceiver::Clock::duration age) { return age < milliseconds(100) ? 1 : age < kActive ? 5 : 20; }

}  // namespace

WalReceiver::WalReceiver() : replay_(stream_) {}

void WalReceiver::attach(core::Hub& hub) noexcept
{
	hub_ = &hub;
	replay_.attach(hub);
}

void WalReceiver::set_limits(const core::TransactionLog::Limits& limits)
{
	// Of what the log may take; it takes over what has been put together.
	limits_ = {limits.memory / 4, limits.spill, limits.directory};
	if (assembler_) assembler_->set_limits(limits_);
	replay_.set_limits(limits_);
}

// --- Beginning and ending --------------------------------------------------------------------------------------------

void WalReceiver::listen(const std::vector<std::string>& channels)
{
	const char* const prefix = pg::message_prefix();
	const std::string known = std::exchange(prefix_, prefix ? prefix : "");
	replay_.configure(MyDatabaseId, prefix_);
	if (state_ != State::stopped && known != prefix_) start_again("the database's secret has changed");
	if (pg::in_recovery()) return;
	pg::unlisten_all();
	for (const std::string& channel : channels)
		pg::listen(channel.c_str());
}

void WalReceiver::unlisten()
{
	if (!pg::in_recovery()) pg::unlisten_all();
	if (reader_) forged_before_ += reader_->forged();
	reader_.reset();
	held_.reset();
	state_ = State::stopped;
}

void WalReceiver::begin()
{
	if (state_ == State::stopped) start_again("the worker was not reading");
}

void WalReceiver::start_again(const std::string& reason)
{
	if (reader_) forged_before_ += reader_->forged();
	reader_.reset();
	held_.reset();
	assembler_ = std::make_unique<core::Assembler>(shapes_, limits_);
	reset_reason_ = reason;
	state_ = State::seeking;
	seek_again_ = {};
	history_ = false;
	last_ = {};
	moved_ = false;
	stream_.forget_told();
}

// Finds where to begin. A transaction that commits at or after `target_` had either published where it began to write, or
// began after `first`: that it had ended when it was looked for would mean that its commit record stood before `target_`.
void WalReceiver::seek()
{
	seek_again_ = Clock::now() + kSeekAgain;
	in_recovery_ = pg::in_recovery();
	suspects_.clear();
	// What sessions published is gone with the server that they ran in; prepared transactions are not.
	if (!in_recovery_)
		pg::unit_of_work("plank: looking for prepared transactions",
		                 [&] { suspects_ = pg::prepared_before(pg::shared_state()->made_at); });
	const uint64_t first = pg::wal_written_end();
	const uint64_t published = in_recovery_ ? 0 : pg::oldest_first_message();
	target_ = pg::wal_written_end();
	if (!in_recovery_) pg::flush_wal(target_);

	uint64_t from = target_ > kHistory ? target_ - kHistory : 0;
	// A checkpoint's list of running transactions follows its redo pointer.
	if (const uint64_t redo = pg::last_redo(); in_recovery_ && redo + kFarthest > target_) from = std::min(from, redo);
	if (published && published + kFarthest > target_) from = std::min(from, published);
	// What could not be understood would not be the next time either.
	from = std::max<uint64_t>({from, unreadable_, 1});

	auto reader = std::make_unique<pg::WalReader>(MyDatabaseId, prefix_, std::string(core::kChunkPrefix));
	pg::WalReader::Start start = reader->start(from);
	while (start == pg::WalReader::Start::gone && pg::next_segment(from) < target_) {
		from = pg::next_segment(from);
		start = reader->start(from);
	}
	if (start != pg::WalReader::Start::found) return;
	published_ = !in_recovery_ && from <= first && (published == 0 || from <= published);
	if (!in_recovery_ && !published_) pg::log_running();
	reader_ = std::move(reader);
	state_ = State::warming;
}

// Whether warming is over, or its first part: from a list of running transactions on there is history.
void WalReceiver::look_whether_known()
{
	if (state_ != State::warming) return;
	const bool there = reader_->position() >= target_;
	if (there && published_ && !held_) assembler_->prove(suspects_);
	if (!assembler_->proven()) return;
	// Who was served before must not be told twice what came before the gap.
	const bool again = has_streamed_;
	if (!again && !history_) begin_history();
	if (held_ ? again || !history_ : !there) return;
	if (again) begin_history();
	state_ = State::streaming;
	has_streamed_ = true;
}

// From here on the hub hears of everything.
void WalReceiver::begin_history()
{
	history_ = true;
	moved_ = false;
	const core::WalPosition here = last_ ? position() : stream_.position_of_place(reader_->position());
	stream_.told(here);
	if (hub_->position().empty()) return hub_->begin_stream(here.end, here.text());
	hub_->moved(here.end, here.text());
	hub_->reset_all(reset_reason_);
}

// --- Reading ---------------------------------------------------------------------------------------------------------

void WalReceiver::receive(Clock::time_point deadline)
{
	more_ = false;
	receive_plain();
	if (state_ == State::stopped) return;
	in_recovery_ = in_recovery_ && pg::in_recovery();
	const auto now = Clock::now();
	const uint64_t end = pg::wal_written_end();
	if (std::exchange(seen_end_, end) != end) active_ = now;
	if (state_ == State::seeking && now >= seek_again_) seek();
	if (reader_) {
		const uint64_t before = reader_->position();
		bool intact = false;
		try {
			intact = read(deadline);
		} catch (...) {
			// What was in hand may be lost.
			start_again("the worker failed while it read");
			throw;
		}
		const uint64_t passed = reader_ && intact ? reader_->position() - before : 0;
		read_ += passed;
		interval_ = passed > kMuch     ? std::max(interval_ / 2, 1l)
		            : passed < kLittle ? std::min(interval_ * 2, kAlone)
		                               : interval_;
		unflushed_ = reader_ && end > reader_->position() ? end - reader_->position() : 0;
	}
	if (state_ == State::streaming) {
		tell_position();
		tell_fences();
	}
	log_trouble();
	if (!has_streamed_) return;
	try {
		replay_.step(std::max(deadline, Clock::now() + kReplayTime), hub_->place());
	} catch (...) {
		replay_.give_up();
		throw;
	}
}

// False when the WAL could not be read and everything begins anew.
bool WalReceiver::read(Clock::time_point deadline)
{
	while (true) {
		if (held_ && !settle_held(deadline)) return true;
		look_whether_known();
		// What waits to be judged is in memory, and the WAL can wait.
		if (hub_->is_behind()) return true;
		if (Clock::now() >= deadline) {
			more_ = true;
			return true;
		}
		const pg::WalEvent event = reader_->next(deadline);
		switch (event.kind) {
			case pg::WalEvent::Kind::nothing:
				look_whether_known();
				return true;
			case pg::WalEvent::Kind::time_up:
				more_ = true;
				look_whether_known();
				return true;
			case pg::WalEvent::Kind::broken:
				pg::log_line(WARNING, "the write-ahead log could not be read on; all subscribers are reset",
				             std::string(event.bytes).c_str(), "Raise wal_keep_size if the worker had fallen behind.");
				start_again("the write-ahead log could not be read");
				more_ = true;
				return false;
			default:
				take(event);
				if (state_ == State::seeking) return false;
		}
	}
}

void WalReceiver::take(const pg::WalEvent& event)
{
	const auto count = static_cast<size_t>(event.count);
	switch (event.kind) {
		case pg::WalEvent::Kind::message:
			ours_ += event.end - event.begin;
			if (assembler_->add(event.xid, event.bytes)) return;
			unreadable_ = event.end;
			pg::log_line(WARNING, "a message in the write-ahead log could not be understood; all subscribers are reset",
			             ("It stands at " + pg::lsn_text(event.begin) + ".").c_str());
			return start_again("a transaction could not be read");
		case pg::WalEvent::Kind::commit:
			return take_commit(event);
		case pg::WalEvent::Kind::abort:
			return assembler_->abort(event.xid, event.xids, count);
		case pg::WalEvent::Kind::prepare:
			return assembler_->prepare(event.xid);
		case pg::WalEvent::Kind::running:
			return assembler_->running(event.xids, count, event.next_xid);
		case pg::WalEvent::Kind::restart:
			return assembler_->restarted();
		case pg::WalEvent::Kind::nothing:
		case pg::WalEvent::Kind::time_up:
		case pg::WalEvent::Kind::broken:
			return;
	}
}

void WalReceiver::take_commit(const pg::WalEvent& event)
{
	std::unique_ptr<core::Assembly> assembly;
	core::Assembler::Outcome outcome =
	    assembler_->commit(event.xid, event.xids, static_cast<size_t>(event.count), assembly);
	if (outcome == core::Assembler::Outcome::unknown && event.database && event.database != MyDatabaseId)
		outcome = core::Assembler::Outcome::nothing;
	if (history_ && outcome == core::Assembler::Outcome::nothing) return pass(commit_point(event));
	// What is not told must be seen before anybody is served: whoever subscribes reads the table then.
	held_ = std::make_unique<Held>();
	held_->point = commit_point(event);
	if (!history_) return;
	held_->assembly = std::move(assembly);
	held_->unknown = outcome == core::Assembler::Outcome::unknown;
}

// Everything up to `point` has been told.
void WalReceiver::pass(const CommitPoint& point)
{
	last_ = point;
	moved_ = true;
}

// True when the transaction that was held has been told, or could be passed.
bool WalReceiver::settle_held(Clock::time_point deadline)
{
	if (held_->assembly && !held_->assembly->step(deadline)) {
		more_ = true;
		return false;
	}
	if (pg::in_progress(held_->point.xid)) {
		if (held_->since == Clock::time_point{}) held_->since = Clock::now();
		look_whether_known();
		return false;
	}
	const std::unique_ptr<Held> held = std::move(held_);
	pass(held->point);
	if (held->unknown) {
		tell_position();
		pg::log_line(LOG, "a transaction began before the worker could read it; all subscribers are reset");
		hub_->reset_all("a transaction could not be read from its beginning");
	} else if (held->assembly) {
		core::Transaction transaction = held->assembly->take();
		const core::WalPosition here = position();
		transaction.committed_at = held->point.time;
		transaction.place = here.end;
		transaction.position = here.text();
		if (!held->assembly->error().empty())
			pg::log_line(WARNING, "a transaction could not be put together; subscribers of its tables are reset",
			             held->assembly->error().c_str());
		stream_.told(here);
		moved_ = false;
		hub_->deliver(std::move(transaction));
		hub_->trim();
	}
	return true;
}

core::WalPosition WalReceiver::position() const { return stream_.position_of(last_, assembler_->restart()); }

void WalReceiver::tell_position()
{
	if (!std::exchange(moved_, false)) return;
	const core::WalPosition here = position();
	stream_.told(here);
	hub_->moved(here.end, here.text());
}

// Said once, and again when it has gone well in between.
void WalReceiver::log_trouble()
{
	if (!assembler_) return;
	const std::string error = assembler_->take_error();
	if (!error.empty() && !trouble_)
		pg::log_line(WARNING,
		             "a large transaction could not be kept until its commit; subscribers of its tables are reset",
		             error.c_str(), "Make room on the data directory's file system, or raise plank.spill_size.");
	trouble_ = !error.empty() || (trouble_ && assembler_->open() > 0);
}

// --- Plain NOTIFY ----------------------------------------------------------------------------------------------------

void WalReceiver::receive_plain()
{
	const auto take = [](void* context, const char* channel, const char* payload) noexcept {
		auto& receiver = *static_cast<WalReceiver*>(context);
		try {
			if (receiver.state_ == State::streaming) deliver_plain_notify(*receiver.hub_, channel, payload);
		} catch (pg::Error& error) {
			error.release();
			receiver.plain_failed_ = true;
		} catch (...) {
			receiver.plain_failed_ = true;
		}
	};
	pg::receive_notifications(take, this, false);
	// It has no replay, so there is nobody to be told.
	if (std::exchange(plain_failed_, false)) pg::log_line(WARNING, "a notification could not be read");
}

// All that ended before a fence has been delivered once the reading is there and nothing is held.
void WalReceiver::tell_fences()
{
	if (fences_.empty() || held_) return;
	const uint64_t reached = pg::next_record_place(reader_->position());
	std::erase_if(fences_, [&](const auto& fence) {
		if (fence.second > reached) return false;
		hub_->fence_passed(fence.first);
		return true;
	});
}

// --- When to look again ----------------------------------------------------------------------------------------------

long WalReceiver::patience() const
{
	const auto now = Clock::now();
	if (state_ == State::stopped) return 1000;
	if (more_ || replay_.has_more()) return 0;
	if (held_) return held_patience(now - std::max(held_->since, Clock::time_point{}));
	if (state_ != State::streaming) return in_recovery_ ? kStandbyIdle : kSeekAgain.count() / 10;
	const bool active = now - active_ < kActive;
	const bool alone = hub_->sessions() == 0;
	long longest = alone ? kAlone : kIdle;
	if (replay_.is_busy()) longest = kStandbyIdle;
	if (in_recovery_ && !alone) return std::min(longest, active ? kStandby : kStandbyIdle);
	if ((unflushed_ && active) || !fences_.empty()) return std::min(longest, kUnflushed);
	return std::min(longest, interval_);
}

ReceiverCounters WalReceiver::counters()
{
	ReceiverCounters counters;
	counters.wal_read = read_;
	counters.wal_skipped = read_ - std::min(read_, ours_);
	counters.wal_replayed = replay_.bytes_read();
	counters.forged = forged_before_ + (reader_ ? reader_->forged() : 0);
	if (reader_) {
		const uint64_t told = held_ ? held_->point.begin : reader_->position();
		const uint64_t end = pg::wal_end();
		counters.lag_bytes = end > told ? end - told : 0;
		if (held_)
			counters.lag_time = std::max<int64_t>(0, GetCurrentTimestamp() - held_->point.time);
		else if (more_ && last_)
			counters.lag_time = std::max<int64_t>(0, GetCurrentTimestamp() - last_.time);
	}
	const uint64_t oldest = stream_.history().oldest_wal();
	counters.oldest_position = oldest == UINT64_MAX ? 0 : oldest;
	return counters;
}

std::unique_ptr<Receiver> make_wal_receiver() { return std::make_unique<WalReceiver>(); }

}  // namespace plank::worker
