// The hub's stream side: transactions in, log entries and wake-ups out. Runs in the worker. Must not call PostgreSQL.
#include "core/hub.hpp"

#include <algorithm>
#include <utility>

#include "core/change_json.hpp"
#include "core/json.hpp"
#include "core/parts.hpp"
#include "core/reply.hpp"

namespace plank::core {

namespace {

constexpr const char* kLost =
    "the transaction was too large for plank.notify_limit or plank.spill_size, or the notification queue too full";
constexpr auto kLookAtSpill = std::chrono::seconds(1);

// Each table once, in order; one for all tables stands for the rest.
void tidy(std::vector<Reset>& resets)
{
	std::stable_sort(resets.begin(), resets.end(),
	                 [](const Reset& a, const Reset& b) { return a.relation < b.relation; });
	const auto same = [](const Reset& a, const Reset& b) { return a.relation == b.relation; };
	resets.erase(std::unique(resets.begin(), resets.end(), same), resets.end());
	static_assert(kAllTables == 0);
	if (!resets.empty() && resets.front().relation == kAllTables) resets.erase(resets.begin() + 1, resets.end());
}

// What a transaction says besides row changes: channels spoken on, tables to be reset.
void read_extras(const Transaction& transaction, LogEntry& entry)
{
	std::vector<std::string_view> channels;
	RecordReader reader(transaction.body);
	Record record;
	while (reader.next(record)) {
		if (record.tag == Tag::message) {
			if (channels.empty() || channels.back() != record.channel) channels.push_back(record.channel);
		} else if (record.tag == Tag::reset) {
			entry.resets.push_back({record.relation, std::string(record.reason), false});
		} else if (record.tag == Tag::lost) {
			Reader relations(record.relations);
			if (relations.done()) entry.resets.push_back({kAllTables, kLost, true});
			while (!relations.done())
				entry.resets.push_back({static_cast<uint32_t>(relations.varint()), kLost, true});
		}
	}
	tidy(entry.resets);
	std::sort(channels.begin(), channels.end());
	channels.erase(std::unique(channels.begin(), channels.end()), channels.end());
	entry.channels.assign(channels.begin(), channels.end());
}

// The tables a transaction changes. One may have several shapes in one transaction.
std::vector<Touched> touched_tables(const Transaction& transaction)
{
	std::vector<Touched> tables;
	const std::vector<OpSet>& ops = transaction.contents.ops;
	for (size_t i = 0; i < ops.size(); ++i)
		if (ops[i]) tables.push_back({transaction.shapes[i]->relation, ops[i]});
	std::sort(tables.begin(), tables.end(), [](const Touched& a, const Touched& b) { return a.relation < b.relation; });
	size_t kept = 0;
	for (const Touched& touched : tables) {
		if (kept && tables[kept - 1].relation == touched.relation)
			tables[kept - 1].ops |= touched.ops;
		else
			tables[kept++] = touched;
	}
	tables.resize(kept);
	return tables;
}

constexpr uint16_t kTooSlow = 4008;

}  // namespace

Hub::Hub(HubLimits limits, Outside outside)
    : limits_(limits),
      catalog_(outside.catalog),
      past_(outside.past),
      evaluator_(outside.evaluator),
      rows_(outside.rows),
      clock_(std::move(outside.clock)),
      log_(limits.log)
{}

Hub::~Hub() = default;

void Hub::set_limits(HubLimits limits)
{
	limits_ = limits;
	log_.set_limits(log_limits());
}

void Hub::close(Session& session) noexcept
{
	for (const Subscription& subscription : session.subscriptions)
		unwatch(session, subscription);
	drop_tickets(session);
	drop_readings(session, nullptr);
	leave_audience(session);
	const auto forget = [&](auto& list) { list.erase(std::remove(list.begin(), list.end(), &session), list.end()); };
	if (!session.requests.empty() && !session.stalled) {
		forget(asking_);
		forget(asking_later_);
	}
	if (session.regroup) forget(regrouping_);
	stale_.erase(&session);
	if (session.starved) forget(starved_);
	sessions_.erase(&session);
}

LogEntry& Hub::append(LogEntry&& entry)
{
	if (entry.is_transaction()) {
		place_ = entry.transaction.place;
		position_ = std::move(entry.transaction.position);
	}
	entry.place = place_;
	entry.position = position_;
	return log_.append(std::move(entry));
}

void Hub::begin_stream(uint64_t place, std::string position)
{
	log_.begin(place);
	moved(place, std::move(position));
}

void Hub::moved(uint64_t place, std::string position)
{
	Incoming incoming;
	incoming.kind = Incoming::Kind::moved;
	incoming.number = place;
	incoming.position = std::move(position);
	take(std::move(incoming));
}

void Hub::fence_passed(uint64_t number)
{
	Incoming incoming;
	incoming.kind = Incoming::Kind::fence;
	incoming.number = number;
	take(std::move(incoming));
}

// Says `subscribed` again, from here on, when a table has another shape than the log told last. Whether anybody watches it
// does not matter: who resumes reads this stretch of the log later.
void Hub::announce_shape(const ShapePtr& shape)
{
	Told& told = shapes_[shape->relation];
	told.entry = log_.end();
	const ShapePtr known = std::exchange(told.shape, shape);
	if (!known || known->identity == shape->identity) return;
	follow_columns(*known, shape);
	settle();
	LogEntry entry;
	entry.new_shape = shape;
	entry.resets = resets_between(*known, *shape);
	const LogEntry& logged = append(std::move(entry));
	wake(logged);
	if (logged.resets.empty()) return;
	++counters_.resets_ddl;
	read_again_after(std::vector<Reset>(logged.resets));
	settle();
}

// Of tables that nobody watches and that the log does not name any more. Seldom, so that it costs a change nothing.
void Hub::forget_old_shapes()
{
	if (shapes_.size() < 2 * shapes_swept_) return;
	std::erase_if(shapes_,
	              [&](const auto& item) { return item.second.entry < log_.first() && !tables_.contains(item.first); });
	shapes_swept_ = std::max<size_t>(64, shapes_.size());
}

LogEntry Hub::make_entry(Transaction&& transaction)
{
	LogEntry entry;
	entry.tables = touched_tables(transaction);
	if (transaction.contents.messages + transaction.contents.others > 0) read_extras(transaction, entry);
	entry.transaction = std::move(transaction);
	return entry;
}

void Hub::deliver(Transaction&& transaction)
{
	const Contents& contents = transaction.contents;
	++counters_.transactions;
	counters_.bytes += transaction.body.size();
	counters_.changes += contents.changes;
	counters_.messages += contents.messages;
	take_entry(make_entry(std::move(transaction)));
}

// The entry goes into the log, and whoever it concerns is woken.
void Hub::admit(LogEntry&& entry)
{
	settle();
	const Contents& contents = entry.transaction.contents;
	bool notices = false;
	for (size_t i = 0; i < contents.ops.size(); ++i) {
		if (!contents.ops[i]) continue;
		const ShapePtr& shape = entry.transaction.shapes[i];
		notices |= !shape->notify.empty();
		announce_shape(shape);
	}
	for (const Reset& reset : entry.resets)
		++(reset.lost ? counters_.resets_lost : counters_.resets_ddl);
	// Filters that come later will judge it for themselves.
	if (entry.judged == 0 && !needs_judging(entry)) entry.judged = filters_born_;
	const LogEntry& logged = append(std::move(entry));
	if (notices && notices_) send_notices(logged);
	wake(logged);
	if (!logged.resets.empty()) read_again_after(std::vector<Reset>(logged.resets));
}

// One transaction may hold several shapes of one table; the members of a change need the one it was written with.
void Hub::send_notices(const LogEntry& entry)
{
	RecordReader reader(entry.body());
	Record record;
	while (reader.next(record)) {
		if (!record.is_change()) continue;
		const Shape& shape = *entry.transaction.shapes[record.shape];
		if (shape.notify.empty()) continue;
		std::string payload = "{\"table\":" + shape.table_json + ",\"op\":\"";
		payload.append(op_name(record.op)) += '"';
		const size_t head = payload.size();
		append_change_members(payload, record, shape, View::whole(record));
		payload += '}';
		if (payload.size() > kMaxPayload) {
			payload.resize(head);
			append_key_member(payload, record, shape);
			if (payload.size() + 32 > kMaxPayload) {
				payload.resize(head);
				payload += ",\"key\":null";
			}
			payload += ",\"truncated\":true}";
		}
		notices_(shape.notify, std::move(payload));
	}
}

void Hub::deliver_notify(const std::string& channel, std::string_view payload)
{
	++counters_.messages;
	// It has no replay: what nobody hears needs no place in the log.
	if (!channels_.contains(channel)) return;
	LogEntry entry;
	std::string content;
	append_counted(content, channel);
	append_json_string(content, payload);
	std::string record;
	append_record(record, Tag::message, content);
	entry.transaction.body.add(std::move(record));
	entry.transaction.committed_at = clock_();
	entry.channels.push_back(channel);
	entry.plain_notify = true;
	take_entry(std::move(entry));
}

void Hub::reset_all(const std::string& reason)
{
	LogEntry entry;
	entry.resets.push_back({kAllTables, reason, true});
	take_entry(std::move(entry));
}

void Hub::send_positions()
{
	const FramePtr plain = Frame::make(position_message(position_));
	for (const auto& [key, audience] : audiences_) {
		const FramePtr frame =
		    audience->rights().empty() ? plain : Frame::make(position_message(position_ + audience->rights()));
		// Whoever is busy hears of a newer position with what it is about to get.
		for (Session* session : audience->idle)
			// It would count for a subscription whose rows are still being read, too.
			if (session->waiting.empty() && session->readings.empty()) queue_reply(*session, frame);
	}
}

// Closing may call back and end the session at once, so the list is made first.
void Hub::close_all(const std::vector<Session*>& sessions, uint16_t code, std::string_view reason, bool drain)
{
	for (Session* session : sessions) {
		session->closing = true;
		// More rows would keep it from ever being drained.
		drop_readings(*session, nullptr);
		if (!drain) {
			drop_tickets(*session);
			session->waiting.clear();
			session->reply_bytes = 0;
			leave_audience(*session);
		}
		session->link.close(code, reason, drain);
	}
}

std::string Hub::trim()
{
	std::string error;
	release_unused();
	forget_old_shapes();
	settle_refused_readings();
	trim_replay();
	if (!log_.over_limits()) {
		// Files that nobody needs any more go even when nothing new comes.
		if (log_.spilled() == 0) return error;
		const auto now = std::chrono::steady_clock::now();
		if (now < look_at_spill_) return error;
		look_at_spill_ = now + kLookAtSpill;
	}
	const auto needs = [](const Session& session) {
		uint64_t lowest = UINT64_MAX;
		for (const Waiting& item : session.waiting)
			if (item.in_live_log()) lowest = std::min(lowest, item.at.entry);
		return lowest;
	};
	uint64_t needed = std::min(log_.end(), needed_by_readings());
	for (const auto& [key, session] : sessions_)
		needed = std::min(needed, needs(*session));
	const uint64_t first = log_.trim(needed, error);
	if (first <= needed) return error;
	std::vector<Session*> cut;
	for (const auto& [key, session] : sessions_)
		if (needs(*session) < first) cut.push_back(session.get());
	close_all(cut, kTooSlow, "what this client still needed has left the log", false);
	drop_starved_readings(first);
	return error;
}

void Hub::for_each_session(const std::function<void(const Session&)>& visit) const
{
	for (const auto& [key, session] : sessions_)
		visit(*session);
}

bool Hub::anybody_watches(uint32_t relation) const noexcept { return tables_.contains(relation); }

}  // namespace plank::core
