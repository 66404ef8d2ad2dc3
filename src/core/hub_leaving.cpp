// The hub's way out of subscriptions: what one that ends, or begins anew, leaves behind among what waits for its client.
// Runs in the worker. Must not call PostgreSQL.
#include <algorithm>
#include <functional>
#include <utility>

#include "core/bytes.hpp"
#include "core/hub.hpp"
#include "core/reply.hpp"

namespace plank::core {

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

// What these subscriptions have not had yet is not sent any more, but for the rest of a transaction that has begun. Nor is
// what is live and waits behind that: to their client there would be a gap before it. They are told so in place of what is
// left out, for with what follows their client's position would come past it; those to whom that does not apply, at the end.
void Hub::drop_catchups(Session& session, const Farewells& farewells)
{
	close_stretch(session);
	std::vector<Waiting>& waiting = session.waiting;
	std::set<std::string_view> left;
	for (size_t i = 0; i < waiting.size();) {
		Waiting& item = waiting[i];
		const auto its = !item.audience && !item.ticket ? farewells.end()
		                 : item.ticket                  ? farewells.find(item.ticket->subscription.id)
		                                                : farewells.find(item.audience->catchup_id());
		if (its == farewells.end()) {
			i = left.empty() ? i + 1 : leave_out(session, i, left);
			continue;
		}
		if (item.ticket) close_ticket(*item.ticket);
		if (item.at.offset > 0) {
			item.until = item.at.entry + 1;
			item.bytes_to = item.bytes_at;
			++i;
		} else {
			const AudiencePtr audience = item.audience;
			waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(i));
		}
		if (!left.insert(its->first).second) continue;
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
