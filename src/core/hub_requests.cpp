// The hub's asking side: what clients ask and the answers. `receive` runs inside network callbacks, the rest in the
// worker's loop, where the catalog may be asked. Must not call PostgreSQL itself.
#include <algorithm>

#include "core/hub.hpp"
#include "core/reply.hpp"

namespace plank::core {

namespace {

constexpr size_t kRepliesPause = 256 * 1024;
constexpr size_t kLongestChannel = 63;
constexpr auto kAskAgain = std::chrono::milliseconds(50);

Fault table_absent(const std::string& id)
{
	// One text for missing, untracked and unreadable tables: the answer must not tell which.
	return {id, code::kUndefinedTable, "table does not exist, is not tracked or may not be read", "",
	        "Track it with plank.track() and grant SELECT on it to the client's role."};
}

constexpr const char* kRowSecurity = "tables with row security are not supported by this version of Plank";

}  // namespace

void Hub::reply(Session& session, std::string&& text)
{
	close_stretch(session);
	Waiting item;
	item.reply = Frame::make(text);
	session.reply_bytes += text.size();
	session.waiting.push_back(std::move(item));
	if (session.reply_bytes > kRepliesPause && !session.reading_paused) {
		session.reading_paused = true;
		session.link.pause_reading(true);
	}
	session.link.request_write();
}

void Hub::refuse(Session& session, Fault&& fault)
{
	++counters_.errors;
	reply(session, error_message(fault));
}

void Hub::refuse_token(Session& session)
{
	session.closing = true;
	refuse(session, {"", code::kNotSupported, "authentication by token is not supported by this version of Plank", "",
	                 "Connect without a token, as plank.anonymous_role."});
}

void Hub::receive(Session& session, std::string_view text)
{
	if (session.closing) return;
	std::variant<Request, Fault> parsed = parse_request(text);
	// Answers keep the order of the questions, so even a fault waits for its turn.
	if (session.requests.empty()) {
		if (auto* fault = std::get_if<Fault>(&parsed)) return refuse(session, std::move(*fault));
		if (const auto* request = std::get_if<Request>(&parsed); request->type == RequestType::ping)
			return reply(session, pong_message(request->id));
		asking_.push_back(&session);
	}
	session.requests.push_back(std::move(parsed));
	if (session.requests.size() >= kRequestsPause && !session.reading_paused) {
		session.reading_paused = true;
		session.link.pause_reading(true);
	}
}

bool Hub::process_requests(std::chrono::steady_clock::time_point deadline)
{
	const auto now = std::chrono::steady_clock::now();
	if (now >= ask_again_at_) {
		asking_.insert(asking_.end(), asking_later_.begin(), asking_later_.end());
		asking_later_.clear();
	}
	// One request of each client in turn, so that nobody's list keeps the others waiting.
	while (!asking_.empty() && std::chrono::steady_clock::now() < deadline) {
		Session& session = *asking_.front();
		asking_.pop_front();
		std::variant<Request, Fault> next = std::move(session.requests.front());
		session.requests.pop_front();
		if (auto* fault = std::get_if<Fault>(&next)) {
			refuse(session, std::move(*fault));
		} else if (!answer(session, std::get<Request>(next))) {
			session.requests.push_front(std::move(next));
			if (asking_later_.empty()) ask_again_at_ = now + kAskAgain;
			asking_later_.push_back(&session);
			continue;
		}
		if (!session.requests.empty()) asking_.push_back(&session);
		if (session.reading_paused && session.requests.size() < kRequestsResume &&
		    session.reply_bytes < kRepliesPause) {
			session.reading_paused = false;
			session.link.pause_reading(false);
		}
	}
	settle();
	return !asking_.empty();
}

// False when the question must be asked again later.
bool Hub::answer(Session& session, const Request& request)
{
	if (session.closing) return true;
	if (request.type == RequestType::ping) {
		reply(session, pong_message(request.id));
	} else if (session.role.empty()) {
		refuse(session, {request.id, code::kNotAuthenticated, "not authenticated", "",
		                 "Set plank.anonymous_role on the server to let clients in without a token."});
	} else if (request.type == RequestType::subscribe) {
		return subscribe(session, request);
	} else if (request.type == RequestType::tables) {
		reply(session, tables_message(request.id, catalog_.readable_tables(session.role)));
	} else if (!session.find(request.id)) {
		refuse(session, {request.id, code::kInvalidParameter, "no subscription has this id", "", ""});
	} else {
		end_subscription(session, request.id, "", "");
	}
	return true;
}

bool Hub::subscribe(Session& session, const Request& request)
{
	if (session.find(request.id)) {
		refuse(session, {request.id, code::kInvalidParameter, "a subscription with this id exists already", "",
		                 "Unsubscribe it first, or choose another id."});
	} else if (session.subscriptions.size() >= limits_.max_subscriptions) {
		refuse(session, {request.id, code::kLimitReached, "too many subscriptions on this connection", "",
		                 "The limit is plank.max_subscriptions."});
	} else if (!request.channel.empty()) {
		subscribe_channel(session, request);
	} else {
		return subscribe_table(session, request);
	}
	return true;
}

bool Hub::subscribe_table(Session& session, const Request& request)
{
	const std::optional<QualifiedName> name = parse_table_name(request.table);
	if (!name) {
		refuse(session, {request.id, code::kInvalidParameter, "\"table\" is not a table's name", "",
		                 "Write it as in SQL: items, public.items or \"My Schema\".\"My Table\"."});
		return true;
	}
	const TableAnswer found = catalog_.find_table(session.role, *name);
	switch (found.access) {
		case Access::granted:
			start_subscription(session, request, found.shape);
			break;
		case Access::absent:
			refuse(session, table_absent(request.id));
			break;
		case Access::row_security:
			refuse(session, {request.id, code::kNotSupported, kRowSecurity, "",
			                 "Disable row security on the table, or do not serve it."});
			break;
		case Access::busy:
			return false;
		case Access::failed:
			refuse(session, {request.id, code::kInternalError, "the table could not be looked up", found.message, ""});
	}
	return true;
}

void Hub::start_subscription(Session& session, const Request& request, const ShapePtr& found)
{
	Subscription subscription;
	subscription.id = request.id;
	subscription.relation = found->relation;
	subscription.events = request.events;
	subscription.numbers_as_text = request.numbers_as_text;
	subscription.since = clock_();
	announce_shape(found);
	ShapePtr& shape = tables_[found->relation].shape;
	if (!shape) shape = found;
	session.subscriptions.push_back(std::move(subscription));
	++counters_.subscriptions;
	changed_subscriptions(session);
	reply(session, subscribed_message(request.id, *found, position()));
}

void Hub::subscribe_channel(Session& session, const Request& request)
{
	if (request.channel.size() > kLongestChannel || !catalog_.may_hear(session.role, request.channel))
		return refuse(session, {request.id, code::kInsufficientPrivilege, "channel is not exposed to this role", "",
		                        "Expose it with plank.expose()."});
	Subscription subscription;
	subscription.id = request.id;
	subscription.channel = request.channel;
	subscription.since = clock_();
	session.subscriptions.push_back(std::move(subscription));
	++counters_.subscriptions;
	changed_subscriptions(session);
	reply(session, channel_subscribed_message(request.id, request.channel, position()));
}

void Hub::end_subscription(Session& session, std::string_view id, std::string_view code, std::string_view message)
{
	const std::string ended(id);
	std::erase_if(session.subscriptions, [&](const Subscription& subscription) { return subscription.id == ended; });
	--counters_.subscriptions;
	changed_subscriptions(session);
	reply(session, unsubscribed_message(ended, code, message));
}

// What a table's or channel's subscribers with one role are to hear when it is no longer theirs.
void Hub::end_where(const std::function<bool(const Session&, const Subscription&)>& ends, const char* code,
                    std::string_view message)
{
	for (const auto& [key, session] : sessions_) {
		std::vector<std::string> ids;
		for (const Subscription& subscription : session->subscriptions)
			if (ends(*session, subscription)) ids.push_back(subscription.id);
		for (const std::string& id : ids)
			end_subscription(*session, id, code, message);
	}
}

bool Hub::look_again()
{
	settle();
	std::erase_if(tables_, [](const auto& table) { return table.second.audiences.empty(); });
	std::map<std::pair<std::string, uint32_t>, Access> by_table;
	std::map<std::pair<std::string, std::string>, bool> by_channel;
	for (const auto& [key, audience] : audiences_) {
		for (const uint32_t relation : audience->relations())
			by_table.try_emplace({audience->role(), relation}, Access::granted);
		for (const std::string& channel : audience->channels())
			by_channel.try_emplace({audience->role(), channel}, true);
	}
	bool complete = true, table_lost = false, channel_lost = false;
	for (auto& [question, access] : by_table) {
		const TableAnswer answer = catalog_.look_again(question.first, question.second);
		// Busy or failed tells nothing: the next look will.
		complete &= answer.access != Access::busy && answer.access != Access::failed;
		if (answer.access == Access::granted) announce_shape(answer.shape);
		if (answer.access == Access::absent || answer.access == Access::row_security) {
			access = answer.access;
			table_lost = true;
		}
	}
	for (auto& [question, heard] : by_channel) {
		heard = catalog_.may_hear(question.first, question.second);
		channel_lost |= !heard;
	}
	if (table_lost) {
		const auto answers = [&](Access access) {
			return [&by_table, access](const Session& session, const Subscription& subscription) {
				return subscription.relation && by_table.at({session.role, subscription.relation}) == access;
			};
		};
		end_where(answers(Access::absent), code::kUndefinedTable, table_absent("").message);
		end_where(answers(Access::row_security), code::kNotSupported, kRowSecurity);
	}
	if (channel_lost)
		end_where(
		    [&](const Session& session, const Subscription& subscription) {
			    return !subscription.relation && !by_channel.at({session.role, subscription.channel});
		    },
		    code::kInsufficientPrivilege, "channel is not exposed to this role");
	settle();
	return complete;
}

}  // namespace plank::core
