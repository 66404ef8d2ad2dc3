// The hub's snapshots: rows first, then what committed after the snapshot, then what is live. While the rows are read the
// subscription is in no audience and the session's others go on; the log keeps what it will need.
// Runs in the worker, outside network callbacks but for what is said. Must not call PostgreSQL.
//
//   subscribed, or reset ─▶ begin_reading ─▶ snapshot_begun ─▶ snapshot_rows … ─▶ snapshot_done ─┐
//                                                 └─▶ fence … fence_passed ──────────────────────┴─▶ finish_reading
#include <algorithm>
#include <utility>

#include "core/hub.hpp"

namespace plank::core {

namespace {

// Bytes of answers that wait for a client before its rows are read on, and how many hold them up.
constexpr size_t kRowsResume = 32 * 1024;
constexpr size_t kRowsPause = 128 * 1024;
// Times that a snapshot is begun again: a reader died, or the log could not keep what came meanwhile.
constexpr int kMostAttempts = 4;
constexpr auto kAskAgain = std::chrono::milliseconds(50);

}  // namespace

// The subscription has been answered, and its client holds nothing for it and catches up on nothing: what is told in place
// of that, should it be left out, must not stand before these rows.
void Hub::begin_reading(Session& session, Subscription& subscription, const ShapePtr& shape, int attempts)
{
	subscription.reading = true;
	changed_subscriptions(session);
	const uint64_t number = ++last_reading_;
	Reading& reading = readings_[number];
	reading.session = &session;
	reading.id = subscription.id;
	reading.from = log_.end();
	reading.position = position_;
	reading.told = shape;
	reading.attempts = attempts;
	session.readings.push_back(number);
	// A condition is asked of the database, which whoever called may be using: a batch is open, or the transport is in the
	// middle of what it hands over.
	if (subscription.filter == kNoFilter)
		start_reading(number);
	else
		to_start_.push_back(number);
}

void Hub::start_reading(uint64_t number)
{
	const Reading& reading = readings_.find(number)->second;
	const Subscription& subscription = *reading.session->find(reading.id);
	const Shape& shape = *reading.told;
	RowsWanted wanted;
	wanted.relation = subscription.relation;
	wanted.numbers_as_text = subscription.numbers_as_text;
	wanted.role = reading.session->role;
	wanted.claims = reading.session->identity->claims;
	if (subscription.filter != kNoFilter) {
		std::variant<std::string, FilterFault> printed = evaluator_.condition(subscription.filter, shape);
		if (auto* fault = std::get_if<FilterFault>(&printed)) {
			// DDL holds the table, or has just changed it.
			const bool locked = fault->sqlstate == kLocked;
			refused_readings_.push_back(
			    {number, std::move(*fault), std::chrono::steady_clock::now() + kAskAgain, locked});
			return;
		}
		wanted.condition = std::move(std::get<std::string>(printed));
	}
	wanted.columns = subscription.columns;
	rows_.start(number, wanted);
}

// Where the evaluator may be asked: in no batch, and in no unit of work but the catalog's.
void Hub::start_readings(std::chrono::steady_clock::time_point deadline)
{
	while (!to_start_.empty()) {
		const uint64_t number = to_start_.front();
		to_start_.pop_front();
		if (!readings_.contains(number)) continue;
		try {
			start_reading(number);
		} catch (...) {
			// The server is in trouble: it is tried again, but not for ever.
			FilterFault fault;
			fault.code = fault.sqlstate = code::kInternalError;
			refused_readings_.push_back({number, std::move(fault), std::chrono::steady_clock::now() + kAskAgain, true});
			throw;
		}
		if (std::chrono::steady_clock::now() >= deadline) return;
	}
}

void Hub::settle_refused_readings()
{
	const auto now = std::chrono::steady_clock::now();
	for (size_t left = refused_readings_.size(); left > 0; --left) {
		RefusedReading refused = std::move(refused_readings_.front());
		refused_readings_.pop_front();
		const auto found = readings_.find(refused.number);
		if (found == readings_.end()) continue;
		if (now < refused.at) {
			refused_readings_.push_back(std::move(refused));
			continue;
		}
		// Locked is no failure: it is asked again for as long as it takes.
		if (refused.fault.sqlstate == kLocked) found->second.attempts = 0;
		snapshot_failed(refused.number, {"", refused.fault.code, refused.fault.message, "", ""}, refused.again);
	}
}

// All of a session's, or that of one subscription.
void Hub::drop_readings(Session& session, const std::string* id) noexcept
{
	std::erase_if(session.readings, [&](uint64_t number) {
		const auto found = readings_.find(number);
		if (id && found->second.id != *id) return false;
		readings_.erase(found);
		rows_.cancel(number);
		return true;
	});
}

void Hub::snapshot_begun(uint64_t number, SeenPtr seen, const ShapePtr& shape)
{
	const auto found = readings_.find(number);
	if (found == readings_.end()) return;
	Reading& reading = found->second;
	reading.seen = std::move(seen);
	if (shape->identity != reading.told->identity) {
		const Subscription* subscription = reading.session->find(reading.id);
		reading.told = shape;
		reply(*reading.session, started(*subscription, shape, position_for(*subscription), Resumed::not_asked));
	}
	rows_.fence(number);
}

void Hub::send_rows(Reading& reading, std::string_view position)
{
	reply(*reading.session, rows_message(reading.id, reading.rows, position));
	reading.held = false;
	reading.sent = true;
	reading.rows = std::string();
}

// The last rows carry the position, so some are always held back.
void Hub::snapshot_rows(uint64_t number, std::string&& rows)
{
	const auto found = readings_.find(number);
	if (found == readings_.end()) return;
	Reading& reading = found->second;
	if (reading.held) send_rows(reading, "");
	reading.rows = std::move(rows);
	reading.held = true;
	if (reading.paused || reading.session->reply_bytes < kRowsPause) return;
	reading.paused = true;
	rows_.pause(number, true);
}

// From a network callback: the client has taken some.
void Hub::resume_readings(Session& session) noexcept
{
	if (session.reply_bytes > kRowsResume) return;
	for (const uint64_t number : session.readings) {
		Reading& reading = readings_.find(number)->second;
		if (std::exchange(reading.paused, false)) rows_.pause(number, false);
	}
}

void Hub::snapshot_done(uint64_t number)
{
	const auto found = readings_.find(number);
	if (found == readings_.end()) return;
	found->second.done = true;
	finish_reading(number);
}

// When all rows are there, and the stream has come past everything that the snapshot has seen.
void Hub::finish_reading(uint64_t number)
{
	const auto found = readings_.find(number);
	if (!found->second.done || !found->second.fenced) return;
	Reading reading = std::move(found->second);
	readings_.erase(found);
	Session& session = *reading.session;
	std::erase(session.readings, number);
	const auto subscription = std::find_if(session.subscriptions.begin(), session.subscriptions.end(),
	                                       [&](const Subscription& item) { return item.id == reading.id; });
	const std::string position = reading.position + reading.seen->suffix() + rights_suffix(*subscription);
	send_rows(reading, position);
	subscription->reading = false;
	changed_subscriptions(session);
	const AudiencePtr audience = catchup_audience(session, *subscription, 0, reading.seen);
	const Audience::Measure& measure = audience->measure(log_, reading.from, log_.end());
	const ShapePtr then = measure.shape ? measure.shape : reading.told;
	if (then->identity != reading.told->identity)
		reply(session, subscribed_message(reading.id, *then, subscription->columns, position));
	add_stretch(session, session.waiting.size(), audience, measure, log_.end());
}

void Hub::snapshot_failed(uint64_t number, const Fault& fault, bool again)
{
	const auto found = readings_.find(number);
	if (found == readings_.end()) return;
	Session& session = *found->second.session;
	const std::string id = found->second.id;
	if (again) return read_again(session, id);
	++counters_.errors;
	end_subscriptions(
	    session, [&](const Subscription& subscription) { return subscription.id == id; }, fault.code, fault.message);
}

// Begins anew what was being read. Rows that the client has are void.
void Hub::read_again(Session& session, const std::string& id)
{
	const auto found = std::find_if(readings_.begin(), readings_.end(), [&](const auto& item) {
		return item.second.session == &session && item.second.id == id;
	});
	const int attempts = found->second.attempts + 1;
	const bool sent = found->second.sent;
	const ShapePtr told = found->second.told;
	drop_readings(session, &id);
	if (attempts == kMostAttempts)
		return end_subscriptions(
		    session, [&](const Subscription& subscription) { return subscription.id == id; }, code::kLimitReached,
		    "the table's rows could not be read; plank.history_size and plank.spill_size bound what may change "
		    "meanwhile");
	for (Subscription& subscription : session.subscriptions) {
		if (subscription.id != id) continue;
		if (sent) reply(session, reset_message(id, "the table is read again", position_for(subscription)));
		begin_reading(session, subscription, told, attempts);
	}
}

// Whoever asked for a snapshot gets the rows again after a reset, which stands in the log now.
void Hub::read_again_after(const std::vector<Reset>& resets)
{
	const auto concerned = [&](const Subscription& subscription) {
		return subscription.snapshot && concern(resets, subscription);
	};
	for (const auto& [key, session] : sessions_) {
		if (session->closing) continue;
		for (Subscription& subscription : session->subscriptions) {
			if (!concerned(subscription)) continue;
			const auto known = shapes_.find(subscription.relation);
			const ShapePtr shape = known == shapes_.end() ? nullptr : known->second.shape;
			if (!shape) continue;
			// Who catches up has not come to it yet, and need not any more.
			if (subscription.reading || lacks(*session, subscription.id)) {
				drop_readings(*session, &subscription.id);
				make_void(*session, subscription, resets.front().reason);
			}
			begin_reading(*session, subscription, shape, 0);
		}
	}
}

// --- The log keeps what they will need -----------------------------------------------------------------------------

uint64_t Hub::needed_by_readings() const noexcept
{
	uint64_t needed = UINT64_MAX;
	for (const auto& [number, reading] : readings_)
		needed = std::min(needed, reading.from);
	return needed;
}

void Hub::drop_starved_readings(uint64_t first)
{
	std::vector<std::pair<Session*, std::string>> starved;
	for (const auto& [number, reading] : readings_)
		if (reading.from < first) starved.emplace_back(reading.session, reading.id);
	for (const auto& [session, id] : starved)
		read_again(*session, id);
}

}  // namespace plank::core
