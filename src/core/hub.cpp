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

void add_once(std::vector<uint32_t>& list, uint32_t value)
{
	const auto place = std::lower_bound(list.begin(), list.end(), value);
	if (place == list.end() || *place != value) list.insert(place, value);
}

constexpr int64_t kAuthenticationDeadline = 10 * 1000000;
constexpr uint16_t kTokenInvalid = 4001;
constexpr uint16_t kTooSlow = 4008;

}  // namespace

Hub::Hub(std::string epoch, HubLimits limits, Catalog& catalog, std::function<int64_t()> clock)
    : epoch_(std::move(epoch)), limits_(limits), catalog_(catalog), clock_(std::move(clock)), log_(limits.log)
{}

Hub::~Hub() = default;

void Hub::set_limits(HubLimits limits)
{
	limits_ = limits;
	log_.set_limits(limits.log);
}

std::string Hub::position() const { return position_text(epoch_, last_xid_); }

Session& Hub::open(Link& link, std::string name, std::string role)
{
	auto session = std::make_unique<Session>(link, std::move(name), std::move(role), clock_());
	Session& opened = *session;
	sessions_.emplace(&opened, std::move(session));
	reply(opened, welcome_message(opened.name, opened.role));
	return opened;
}

void Hub::close(Session& session) noexcept
{
	counters_.subscriptions -= session.subscriptions.size();
	leave_audience(session);
	const auto forget = [&](auto& list) { list.erase(std::remove(list.begin(), list.end(), &session), list.end()); };
	if (!session.requests.empty()) {
		forget(asking_);
		forget(asking_later_);
	}
	if (session.regroup) forget(regrouping_);
	if (session.starved) forget(starved_);
	sessions_.erase(&session);
}

LogEntry& Hub::append(LogEntry&& entry)
{
	if (entry.transaction.xid) last_xid_ = entry.transaction.xid;
	entry.position_xid = last_xid_;
	return log_.append(std::move(entry));
}

// Says `subscribed` again, from here on, when a watched table has another shape than its subscribers know.
void Hub::announce_shape(const ShapePtr& shape)
{
	const auto found = tables_.find(shape->relation);
	if (found == tables_.end()) return;
	const ShapePtr known = std::exchange(found->second.shape, shape);
	if (!known || known->identity == shape->identity) return;
	LogEntry entry;
	entry.new_shape = shape;
	wake(append(std::move(entry)));
}

namespace {

// What a transaction says besides row changes: channels spoken on, tables to be reset.
void read_extras(const Transaction& transaction, LogEntry& entry)
{
	Reader reader(transaction.records());
	Record record;
	while (next_record(reader, record)) {
		if (record.tag == Tag::message) {
			if (std::find(entry.channels.begin(), entry.channels.end(), record.channel) == entry.channels.end())
				entry.channels.emplace_back(record.channel);
		} else if (record.tag == Tag::reset) {
			const auto same = [&](const Reset& reset) { return reset.relation == record.relation; };
			if (std::none_of(entry.resets.begin(), entry.resets.end(), same))
				entry.resets.push_back({record.relation, std::string(record.reason)});
		} else if (record.tag == Tag::lost) {
			Reader relations(record.relations);
			const std::string reason =
			    "the transaction was too large for plank.notify_limit, or the notification queue too full";
			if (relations.done()) entry.resets.push_back({kAllTables, reason});
			while (!relations.done() && relations.ok())
				entry.resets.push_back({static_cast<uint32_t>(relations.varint()), reason});
		}
	}
}

}  // namespace

void Hub::deliver(Transaction&& transaction)
{
	settle();
	LogEntry entry;
	bool notices = false;
	for (const ShapePtr& shape : transaction.shapes)
		notices |= !shape->notify.empty();
	if (transaction.messages + transaction.others > 0) read_extras(transaction, entry);
	for (size_t i = 0; i < transaction.shapes.size(); ++i) {
		if (!transaction.used[i]) continue;
		add_once(entry.relations, transaction.shapes[i]->relation);
		announce_shape(transaction.shapes[i]);
	}
	++counters_.transactions;
	counters_.changes += transaction.changes;
	counters_.messages += transaction.messages;
	counters_.resets += entry.resets.size();
	entry.transaction = std::move(transaction);
	const LogEntry& logged = append(std::move(entry));
	if (notices && notices_) send_notices(logged);
	wake(logged);
}

// One transaction may hold several shapes of one table; the members of a change need the one it was written with.
void Hub::send_notices(const LogEntry& entry)
{
	Reader reader(entry.records());
	Record record;
	while (next_record(reader, record)) {
		if (!record.is_change()) continue;
		const Shape& shape = *entry.transaction.shapes[record.shape];
		if (shape.notify.empty()) continue;
		std::string payload = "{\"table\":" + shape.table_json + ",\"op\":\"";
		payload.append(op_name(record.op)) += '"';
		const size_t head = payload.size();
		append_change_members(payload, record, shape, false);
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
	settle();
	LogEntry entry;
	std::string content;
	append_counted(content, channel);
	append_json_string(content, payload);
	append_varint(entry.transaction.body, 0);
	entry.transaction.records_at = entry.transaction.body.size();
	append_record(entry.transaction.body, Tag::message, content);
	entry.transaction.committed_at = clock_();
	entry.channels.push_back(channel);
	entry.plain_notify = true;
	++counters_.messages;
	wake(append(std::move(entry)));
}

void Hub::reset_all(const std::string& reason)
{
	settle();
	LogEntry entry;
	entry.resets.push_back({kAllTables, reason});
	++counters_.resets;
	wake(append(std::move(entry)));
}

void Hub::send_positions()
{
	const FramePtr frame = Frame::make(position_message(position()));
	for (const auto& [key, audience] : audiences_) {
		// Whoever is busy hears of a newer position with what it is about to get.
		for (Session* session : audience->idle) {
			if (!session->waiting.empty() || session->closing) continue;
			Waiting item;
			item.reply = frame;
			session->waiting.push_back(std::move(item));
			session->reply_bytes += frame->size();
			session->link.request_write();
		}
	}
}

// Closing may call back and end the session at once, so the list is made first.
void Hub::close_all(const std::vector<Session*>& sessions, uint16_t code, std::string_view reason, bool drain)
{
	for (Session* session : sessions) {
		session->closing = true;
		if (!drain) session->waiting.clear();
		session->link.close(code, reason, drain);
	}
}

void Hub::end_role(const std::string& role, std::string_view reason)
{
	std::vector<Session*> ended;
	for (const auto& [key, session] : sessions_) {
		if (session->role != role || session->closing) continue;
		while (!session->subscriptions.empty())
			end_subscription(*session, std::string(session->subscriptions.back().id), code::kNotAuthenticated, reason);
		ended.push_back(session.get());
	}
	close_all(ended, kTokenInvalid, reason, true);
}

void Hub::close_unauthenticated()
{
	const int64_t now = clock_();
	std::vector<Session*> late;
	for (const auto& [key, session] : sessions_)
		if (session->role.empty() && !session->closing && now - session->connected_at >= kAuthenticationDeadline)
			late.push_back(session.get());
	close_all(late, kTokenInvalid, "no token was sent", true);
}

std::string Hub::trim()
{
	std::string error;
	if (!log_.over_limits()) return error;
	uint64_t needed = log_.end();
	for (const auto& [key, session] : sessions_)
		for (const Waiting& item : session->waiting)
			if (item.audience) needed = std::min(needed, item.at.entry);
	const uint64_t first = log_.trim(needed, error);
	if (first <= needed) return error;
	std::vector<Session*> cut;
	for (const auto& [key, session] : sessions_) {
		const auto gone = [&](const Waiting& item) { return item.audience && item.at.entry < first; };
		if (!session->closing && std::any_of(session->waiting.begin(), session->waiting.end(), gone))
			cut.push_back(session.get());
	}
	close_all(cut, kTooSlow, "what this client still needed has left the log", false);
	return error;
}

void Hub::for_each_session(const std::function<void(const Session&)>& visit) const
{
	for (const auto& [key, session] : sessions_)
		visit(*session);
}

bool Hub::anybody_watches(uint32_t relation) const noexcept { return tables_.contains(relation); }

}  // namespace plank::core
