// The hub's side of the past: subscriptions that go on where an earlier one ended. What came in between is sent first, as
// `transaction` with `catchup`, from the log or from a pass over the past (past.hpp); what is live waits behind it.
// Runs in the worker, outside network callbacks but for what next_frame asks. Must not call PostgreSQL.
#include <algorithm>
#include <utility>

#include "core/hub.hpp"

namespace plank::core {

namespace {

// How long clients may keep what is replayed from going on.
constexpr auto kReplayPatience = std::chrono::seconds(15);
constexpr uint16_t kTooSlow = 4008;
constexpr const char* kResetSince = "the table was reset since";

}  // namespace

// The reply that starts a subscription; `shape` is null for a channel's.
std::string Hub::started(const Subscription& subscription, const ShapePtr& shape, std::string_view position,
                         Resumed resumed)
{
	if (!shape) return channel_subscribed_message(subscription.id, subscription.channel, position, resumed);
	return subscribed_message(subscription.id, *shape, subscription.columns, position, resumed);
}

// Where a subscription stands that holds nothing: who is to get rows cannot go on from there before they have come.
std::string Hub::position_for(const Subscription& subscription) const
{
	return subscription.snapshot ? position_ + std::string(kUnread) : position_ + rights_suffix(subscription);
}

// --- Starting ------------------------------------------------------------------------------------------------------

// False when the request has been refused, or must be asked again later.
bool Hub::find_past(Session& session, const Request& request, Found& found)
{
	if (request.since.empty()) return true;
	if (request.since.ends_with(kUnread))
		found = {Found::Kind::lost, 0, "its rows had not been read"};
	else if (const std::optional<SplitPosition> since = split_position(without_rights(request.since)))
		found = past_.find(since->stream, log_);
	if (found.kind == Found::Kind::later) return false;
	if (found.kind != Found::Kind::malformed) return true;
	refuse(session, {request.id, code::kInvalidParameter, "\"since\" is not a position", "",
	                 "Send a position as it came from the server, or leave \"since\" out and read the table."});
	return false;
}

void Hub::start(Session& session, Subscription& subscription, const ShapePtr& shape, const std::string& since,
                const Found& found)
{
	if (since.empty()) {
		reply(session, started(subscription, shape, position_for(subscription), Resumed::not_asked));
		if (subscription.snapshot) begin_reading(session, subscription, shape, 0);
		return;
	}
	if (found.kind != Found::Kind::lost && !has_rights(since, subscription))
		return resume_failed(session, subscription, shape, "what may be seen of the table has changed");
	switch (found.kind) {
		case Found::Kind::in_log:
			return resume_from_log(session, subscription, shape, since, found.entry);
		case Found::Kind::replay:
			return resume_by_replay(session, subscription, shape, since);
		case Found::Kind::later:
		case Found::Kind::lost:
		case Found::Kind::malformed:
			resume_failed(session, subscription, shape, found.reason);
	}
}

void Hub::resume_failed(Session& session, Subscription& subscription, const ShapePtr& shape, const std::string& reason)
{
	++counters_.resets_resume;
	const std::string position = position_for(subscription);
	reply(session, started(subscription, shape, position, Resumed::no));
	reply(session, reset_message(subscription.id, reason, position));
	if (subscription.snapshot) begin_reading(session, subscription, shape, 0);
}

// The rows that the client holds are void, and it has asked to get them again.
// `told`: the shape that the client was told last, where that may be another one; or null.
void Hub::start_over(Session& session, const std::string& id, const std::string& reason, const ShapePtr& told)
{
	for (Subscription& subscription : session.subscriptions) {
		if (subscription.id != id || !subscription.snapshot || subscription.reading) continue;
		const auto known = shapes_.find(subscription.relation);
		if (known == shapes_.end()) continue;
		const bool other = told && told->identity != known->second.shape->identity;
		changed_subscriptions(session);
		make_void(session, subscription, reason, other ? known->second.shape : nullptr);
		begin_reading(session, subscription, known->second.shape, 0);
	}
}

void Hub::resume_from_log(Session& session, Subscription& subscription, const ShapePtr& shape, const std::string& since,
                          uint64_t from)
{
	const AudiencePtr audience =
	    catchup_audience(session, subscription, 0, split_position(without_rights(since))->seen);
	const Audience::Measure& measure = audience->measure(log_, from, log_.end());
	// What comes up to a reset would be void at once.
	if (measure.has_reset && subscription.snapshot) return resume_failed(session, subscription, shape, kResetSince);
	++counters_.resumed_from_log;
	// Rows come as they were then; the log says where their shape changes.
	const ShapePtr& then = measure.shape ? measure.shape : shape;
	reply(session, started(subscription, then, since, Resumed::yes));
	add_stretch(session, session.waiting.size(), audience, measure, log_.end());
}

void Hub::resume_by_replay(Session& session, const Subscription& subscription, const ShapePtr& shape,
                           const std::string& since)
{
	auto ticket = std::make_shared<Ticket>();
	ticket->number = ++last_ticket_;
	ticket->session = &session;
	ticket->subscription = subscription;
	ticket->since = since;
	ticket->shape = shape;
	ticket->live_entry = log_.end();
	ticket->live_place = place_;
	ticket->live_position = position_;
	tickets_.emplace(ticket->number, ticket);
	close_stretch(session);
	Waiting item;
	item.ticket = ticket;
	session.waiting.push_back(std::move(item));
	past_.want(ticket->number, split_position(without_rights(since))->stream);
}

// One subscription that hears what others have had. Those of one role that ask for the same under the same id share it;
// `pass`: the log is that of a pass over the past, 0: the live one.
AudiencePtr Hub::catchup_audience(const Session& session, const Subscription& subscription, uint64_t pass,
                                  const SeenPtr& seen)
{
	std::string key;
	append_varint(key, pass);
	append_counted(key, seen ? seen->suffix() : "");
	key += audience_key(session.identity->key, {subscription});
	if (const auto found = catchups_.find(key); found != catchups_.end())
		if (AudiencePtr audience = found->second.lock()) return audience;
	AudiencePtr audience = make_audience(std::move(key), {subscription}, {true, seen});
	catchups_.erase(audience->key());
	catchups_.emplace(audience->key(), audience);
	return audience;
}

// Puts a stretch of the live log that others have had at `place` among what waits.
void Hub::add_stretch(Session& session, size_t place, const AudiencePtr& audience, const Audience::Measure& measure,
                      uint64_t until)
{
	if (measure.first.entry >= until) return;
	Waiting item;
	item.audience = audience;
	item.at = measure.first;
	item.until = until;
	item.bytes_to = measure.bytes;
	session.waiting.insert(session.waiting.begin() + static_cast<ptrdiff_t>(place), std::move(item));
	session.link.request_write();
}

void Hub::insert_reply(Session& session, size_t place, std::string&& text)
{
	Waiting item;
	item.reply = Frame::make(text);
	session.reply_bytes += item.reply->size();
	session.waiting.insert(session.waiting.begin() + static_cast<ptrdiff_t>(place), std::move(item));
	session.link.request_write();
}

// --- Ending --------------------------------------------------------------------------------------------------------

void Hub::close_ticket(Ticket& ticket) noexcept
{
	if (ticket.state == Ticket::State::closed) return;
	ticket.state = Ticket::State::closed;
	// Its session may go before the pass ends, and is not looked for there any more.
	if (ticket.idle)
		std::erase_if(idle_tickets_, [&](const std::shared_ptr<Ticket>& other) { return other.get() == &ticket; });
	past_.forget(ticket.number);
	tickets_.erase(ticket.number);
}

// The session goes, or all that waits for it.
void Hub::drop_tickets(Session& session) noexcept
{
	for (const Waiting& item : session.waiting) {
		if (!item.ticket) continue;
		item.ticket->session = nullptr;
		close_ticket(*item.ticket);
	}
}

// --- A pass over the past ------------------------------------------------------------------------------------------

void Hub::replay_begun()
{
	++pass_;
	replayed_ = std::make_shared<TransactionLog>(TransactionLog::Limits{0, 0, ""});
	std::erase_if(replay_logs_, [](const std::weak_ptr<TransactionLog>& log) { return log.expired(); });
	replay_logs_.push_back(replayed_);
	replay_shapes_.clear();
	replay_position_.clear();
	idle_tickets_.clear();
	lowest_live_place_ = UINT64_MAX;
}

namespace {

size_t place_of(const Session& session, const Ticket& ticket)
{
	size_t place = 0;
	while (session.waiting[place].ticket.get() != &ticket)
		++place;
	return place;
}

// What a client is told that the past could not be had for: as Hub::position_for.
std::string begins_at(const Ticket& ticket)
{
	return ticket.subscription.snapshot ? ticket.live_position + std::string(kUnread)
	                                    : ticket.live_position + rights_suffix(ticket.subscription);
}

}  // namespace

void Hub::replay_verified(uint64_t number)
{
	const auto found = tickets_.find(number);
	if (found == tickets_.end() || found->second->state != Ticket::State::waiting) return;
	Ticket& ticket = *found->second;
	Session& session = *ticket.session;
	++counters_.resumed_by_replay;
	ticket.state = Ticket::State::open;
	ticket.log = replayed_;
	replay_position_ = ticket.since;
	lowest_live_place_ = std::min(lowest_live_place_, ticket.live_place);
	// Whoever is in this pass already may have been told of another shape, and this client hears of the next one with it.
	ShapePtr shape = ticket.shape;
	if (shape) shape = replay_shapes_.try_emplace(shape->relation, shape).first->second;
	const size_t place = place_of(session, ticket);
	Waiting& item = session.waiting[place];
	item.audience =
	    catchup_audience(session, ticket.subscription, pass_, split_position(without_rights(ticket.since))->seen);
	replay_audiences_.insert(item.audience.get());
	item.at = {replayed_->end(), 0};
	item.bytes_at = item.audience->bytes;
	insert_reply(session, place, started(ticket.subscription, shape, ticket.since, Resumed::yes));
}

void Hub::replay_refused(uint64_t number, const std::string& reason)
{
	const auto found = tickets_.find(number);
	if (found == tickets_.end() || found->second->state != Ticket::State::waiting) return;
	const std::shared_ptr<Ticket> ticket = found->second;
	Session& session = *ticket->session;
	++counters_.resets_resume;
	const size_t place = place_of(session, *ticket);
	const std::string position = begins_at(*ticket);
	close_ticket(*ticket);
	session.waiting.erase(session.waiting.begin() + static_cast<ptrdiff_t>(place));
	insert_reply(session, place, reset_message(ticket->subscription.id, reason, position));
	insert_reply(session, place, started(ticket->subscription, ticket->shape, position, Resumed::no));
	start_over(session, ticket->subscription.id, reason);
}

void Hub::replay(Transaction&& transaction)
{
	LogEntry entry = make_entry(std::move(transaction));
	const std::vector<OpSet>& ops = entry.transaction.contents.ops;
	for (size_t i = 0; i < ops.size(); ++i) {
		if (!ops[i]) continue;
		const ShapePtr& shape = entry.transaction.shapes[i];
		const auto told = replay_shapes_.find(shape->relation);
		if (told == replay_shapes_.end()) continue;
		const ShapePtr former = std::exchange(told->second, shape);
		if (former->identity == shape->identity) continue;
		LogEntry changed;
		changed.new_shape = shape;
		changed.resets = resets_between(*former, *shape);
		log_replayed(std::move(changed));
	}
	log_replayed(std::move(entry));
}

void Hub::log_replayed(LogEntry&& entry)
{
	const std::vector<Reset> resets = entry.resets;
	if (entry.is_transaction()) replay_position_ = std::move(entry.transaction.position);
	entry.place = entry.transaction.place;
	entry.position = replay_position_;
	bool heard = false;
	for (Audience* audience : replay_audiences_) {
		if (!audience->watches(entry)) continue;
		audience->bytes += entry.body().size();
		heard = true;
	}
	if (!heard) return;
	replayed_->append(std::move(entry));
	for (const std::shared_ptr<Ticket>& ticket : std::exchange(idle_tickets_, {})) {
		ticket->idle = false;
		if (ticket->session) ticket->session->link.request_write();
	}
	if (resets.empty()) return;
	// What follows would be nothing to whoever gets the rows again.
	for (const std::shared_ptr<Ticket>& ticket : open_tickets())
		if (ticket->subscription.snapshot && concern(resets, ticket->subscription))
			break_off(ticket, kResetSince, true);
}

// Whoever has come to where the live log is complete, or to where its own live stream begins, needs no more of the pass.
bool Hub::replay_passed(uint64_t place)
{
	const bool log_is_complete = place >= log_.complete_from();
	if (!log_is_complete && place < lowest_live_place_) return true;
	lowest_live_place_ = UINT64_MAX;
	bool more = false;
	for (const std::shared_ptr<Ticket>& ticket : open_tickets()) {
		if (log_is_complete || place >= ticket->live_place) {
			finish_ticket(ticket, place);
		} else {
			lowest_live_place_ = std::min(lowest_live_place_, ticket->live_place);
			more = true;
		}
	}
	return more;
}

std::vector<std::shared_ptr<Ticket>> Hub::open_tickets() const
{
	std::vector<std::shared_ptr<Ticket>> open;
	for (const auto& [number, ticket] : tickets_)
		if (ticket->state == Ticket::State::open) open.push_back(ticket);
	return open;
}

// Closes the stretch of the pass. Returns where what follows it stands among what waits.
size_t Hub::end_replay(const std::shared_ptr<Ticket>& ticket)
{
	Session& session = *ticket->session;
	const size_t place = place_of(session, *ticket);
	close_ticket(*ticket);
	Waiting& item = session.waiting[place];
	item.until = replayed_->end();
	item.bytes_to = item.audience->bytes;
	session.link.request_write();
	if (item.at != Cursor{item.until, 0}) return place + 1;
	const AudiencePtr audience = item.audience;
	session.waiting.erase(session.waiting.begin() + static_cast<ptrdiff_t>(place));
	return place;
}

// The shape that the client knows after what was replayed; null for a channel.
ShapePtr Hub::replayed_shape(const Ticket& ticket) const
{
	const auto found = replay_shapes_.find(ticket.subscription.relation);
	return found == replay_shapes_.end() ? nullptr : found->second;
}

void Hub::finish_ticket(const std::shared_ptr<Ticket>& ticket, uint64_t place)
{
	Session& session = *ticket->session;
	const uint64_t until = ticket->live_entry;
	const uint64_t from = std::min(std::max(log_.first_after(place), log_.first()), until);
	const AudiencePtr audience =
	    catchup_audience(session, ticket->subscription, 0, split_position(without_rights(ticket->since))->seen);
	const Audience::Measure& measure = audience->measure(log_, from, until);
	if (measure.has_reset && ticket->subscription.snapshot) return break_off(ticket, kResetSince, false);
	size_t next = end_replay(ticket);
	const ShapePtr& then = measure.shape ? measure.shape : ticket->shape;
	if (const ShapePtr told = replayed_shape(*ticket); told && told->identity != then->identity)
		insert_reply(session, next++,
		             started(ticket->subscription, then, replay_position_ + rights_suffix(ticket->subscription),
		                     Resumed::not_asked));
	add_stretch(session, next, audience, measure, until);
}

// Nothing more of the past. `told`: the stretch ends with a reset.
void Hub::break_off(const std::shared_ptr<Ticket>& ticket, const std::string& reason, bool told)
{
	const ShapePtr known = replayed_shape(*ticket);
	// Void, too, is what was read and not sent yet.
	if (ticket->subscription.snapshot) return start_over(*ticket->session, ticket->subscription.id, reason, known);
	size_t next = end_replay(ticket);
	if (known && known->identity != ticket->shape->identity)
		insert_reply(*ticket->session, next++,
		             started(ticket->subscription, ticket->shape, begins_at(*ticket), Resumed::not_asked));
	if (!told) insert_reply(*ticket->session, next, reset_message(ticket->subscription.id, reason, begins_at(*ticket)));
}

void Hub::replay_broken(const std::string& reason)
{
	for (const std::shared_ptr<Ticket>& ticket : open_tickets()) {
		++counters_.resets_resume;
		break_off(ticket, reason, false);
	}
}

// Clients that still read what was replayed keep its log; nobody else does.
void Hub::replay_ended()
{
	replayed_ = nullptr;
	replay_audiences_.clear();
	replay_shapes_.clear();
	idle_tickets_.clear();
}

bool Hub::replay_is_full() const
{
	size_t memory = 0, mapped = 0;
	for (const std::weak_ptr<TransactionLog>& weak : replay_logs_) {
		const std::shared_ptr<TransactionLog> log = weak.lock();
		if (!log) continue;
		memory += log->memory();
		mapped += log->spilled();
	}
	return memory >= limits_.replay || mapped >= limits_.log.spill;
}

// True when the client at the front of its queue has to wait for the pass to go on, or to begin.
bool Hub::waits_for_past(Session& session)
{
	const Waiting& front = session.waiting.front();
	if (!front.ticket || front.until != Waiting::kOpen) return false;
	Ticket& ticket = *front.ticket;
	if (ticket.state == Ticket::State::waiting) return true;
	if (front.at.entry < ticket.log->end()) return false;
	if (!std::exchange(ticket.idle, true)) idle_tickets_.push_back(front.ticket);
	return true;
}

// Drops what all have read. A client that keeps a full log from going on for long is too slow.
void Hub::trim_replay()
{
	if (!replay_is_full()) {
		full_since_ = {};
		return;
	}
	std::unordered_map<TransactionLog*, uint64_t> needed;
	const auto each = [&](auto&& visit) {
		for (const auto& [key, session] : sessions_)
			for (const Waiting& item : session->waiting)
				if (item.ticket && item.ticket->log) visit(*session, item);
	};
	each([&](Session&, const Waiting& item) {
		uint64_t& lowest = needed.try_emplace(item.ticket->log.get(), UINT64_MAX).first->second;
		lowest = std::min(lowest, item.at.entry);
	});
	if (replayed_) needed.try_emplace(replayed_.get(), replayed_->end());
	for (const auto& [log, lowest] : needed)
		log->drop_before(lowest);

	const auto now = std::chrono::steady_clock::now();
	if (!replay_is_full() || full_since_ == std::chrono::steady_clock::time_point{}) {
		full_since_ = now;
		return;
	}
	if (now - full_since_ < kReplayPatience) return;
	full_since_ = {};
	std::vector<Session*> slow;
	each([&](Session& session, const Waiting& item) {
		const bool late = item.at.entry == item.ticket->log->first() && !session.closing;
		// Once, for closing may end it.
		if (late && (slow.empty() || slow.back() != &session)) slow.push_back(&session);
	});
	close_all(slow, kTooSlow, "what was read again for this client was not taken in time", false);
}

}  // namespace plank::core
