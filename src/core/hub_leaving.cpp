// The hub's way out of subscriptions: what one that ends, or begins anew, leaves behind among what waits for its client.
// Runs in the worker. Must not call PostgreSQL.
#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "core/bytes.hpp"
#include "core/hub.hpp"
#include "core/reply.hpp"

namespace plank::core {

namespace {

// Who still has to catch up on it; null: nobody, or only to the end of a transaction that has begun.
const std::string* lacked_by(const Waiting& item) noexcept
{
	if (item.cut) return nullptr;
	if (item.ticket) return &item.ticket->subscription.id;
	return item.audience && item.audience->catches_up() ? &item.audience->catchup_id() : nullptr;
}

}  // namespace

// `code`: empty when the client has asked for it.
void Hub::end_subscriptions(Session& session, const std::function<bool(const Subscription&)>& ends,
                            std::string_view code, std::string_view message)
{
	std::vector<Subscription>& all = session.subscriptions;
	const auto first = std::stable_partition(all.begin(), all.end(), std::not_fn(ends));
	if (first == all.end()) return;
	const std::vector<Subscription> ended(std::make_move_iterator(first), std::make_move_iterator(all.end()));
	all.erase(first, all.end());
	changed_subscriptions(session);
	Farewells farewells;
	for (const Subscription& subscription : ended) {
		drop_readings(session, &subscription.id);
		unwatch(session, subscription);
		std::vector<std::string>& words = farewells[subscription.id];
		if (!code.empty()) words.push_back(unsubscribed_message(subscription.id, code, message));
	}
	drop_catchups(session, farewells);
	if (!code.empty()) return;
	// Answers keep the order of the questions.
	for (const Subscription& subscription : ended)
		reply(session, unsubscribed_message(subscription.id, code, message));
}

bool Hub::lacks(const Session& session, const std::string& id) noexcept
{
	return std::any_of(session.waiting.begin(), session.waiting.end(), [&](const Waiting& item) {
		const std::string* const lacking = lacked_by(item);
		return lacking && *lacking == id;
	});
}

// Whether the table's shape would be told in what is left out when the subscription begins anew.
bool Hub::lacks_shape(const Session& session, const Subscription& subscription) const
{
	bool behind = false;
	return std::any_of(session.waiting.begin(), session.waiting.end(), [&](const Waiting& item) {
		const std::string* const lacking = lacked_by(item);
		const bool its = lacking && *lacking == subscription.id;
		behind |= its;
		if (!item.audience || !(its || (behind && !item.audience->catches_up()))) return false;
		const TransactionLog& log = item.ticket ? *item.ticket->log : log_;
		const uint64_t until = std::min(item.until, log.end());
		for (uint64_t entry = item.at.entry; entry < until; ++entry)
			if (const ShapePtr& shape = log.at(entry).new_shape; shape && shape->relation == subscription.relation)
				return true;
		return false;
	});
}

// What the client holds is void. `shape`: to be told with it, or null.
void Hub::make_void(Session& session, const Subscription& subscription, const std::string& reason,
                    const ShapePtr& shape)
{
	const std::string position = position_for(subscription);
	// One that waits for the past has not been answered.
	const bool unanswered = std::any_of(session.waiting.begin(), session.waiting.end(), [&](const Waiting& item) {
		return item.ticket && item.ticket->state == Ticket::State::waiting &&
		       item.ticket->subscription.id == subscription.id;
	});
	std::vector<std::string> words;
	if (shape || unanswered || lacks_shape(session, subscription))
		words.push_back(started(subscription, shape ? shape : shapes_.at(subscription.relation).shape, position,
		                        unanswered ? Resumed::no : Resumed::not_asked));
	words.push_back(reset_message(subscription.id, reason, position));
	drop_catchups(session, {{subscription.id, std::move(words)}});
}

// What these subscriptions have not had yet is not sent any more, but for the rest of a transaction that has begun. Nor is
// what is live and waits behind that: to their client there would be a gap before it. They are told so in place of what is
// left out, for with what follows their client's position would come past it; those to whom that does not apply, at the end.
void Hub::drop_catchups(Session& session, const Farewells& farewells)
{
	close_stretch(session);
	std::vector<Waiting>& waiting = session.waiting;
	std::map<std::string_view, size_t> pieces;  // of what is left out, and there are no others' between them
	for (const Waiting& item : waiting)
		if (const std::string* const id = lacked_by(item); id && farewells.contains(*id))
			++pieces[farewells.find(*id)->first];
	std::set<std::string_view> left;
	for (size_t i = 0; i < waiting.size();) {
		Waiting& item = waiting[i];
		const std::string* const lacking = lacked_by(item);
		const auto its = lacking ? farewells.find(*lacking) : farewells.end();
		if (its == farewells.end()) {
			i = left.empty() ? i + 1 : leave_out(session, i, left);
			continue;
		}
		if (item.ticket) close_ticket(*item.ticket);
		if (item.at.offset > 0) {
			item.until = item.at.entry + 1;
			item.bytes_to = item.bytes_at;
			item.cut = true;
			++i;
		} else {
			const AudiencePtr audience = item.audience;
			waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(i));
		}
		left.insert(its->first);
		if (--pieces[its->first] > 0) continue;
		for (const std::string& words : its->second)
			insert_reply(session, i++, std::string(words));
	}
	for (const auto& [id, all] : farewells) {
		if (left.contains(id)) continue;
		for (const std::string& words : all)
			reply(session, std::string(words));
	}
}

// Of a closed stretch of the live log, which has not begun: it waits behind what is left out. Returns the place of what
// follows it.
size_t Hub::leave_out(Session& session, size_t place, const std::set<std::string_view>& ids)
{
	std::vector<Waiting>& waiting = session.waiting;
	if (!waiting[place].in_live_log() || waiting[place].audience->catches_up() ||
	    !waiting[place].audience->has_any(ids))
		return place + 1;
	const Waiting stretch = std::move(waiting[place]);
	waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(place));
	const std::vector<Subscription> others = stretch.audience->without(ids);
	if (others.empty()) return place;
	const size_t rest = waiting.size();
	std::string key = stretch.audience->key();
	for (const std::string_view id : ids)
		append_counted(key, id);
	const AudiencePtr audience = make_audience(std::move(key), others, {});
	add_stretch(session, place, audience, audience->measure(log_, stretch.at.entry, stretch.until), stretch.until);
	return place + (waiting.size() - rest);
}

}  // namespace plank::core
