// The hub's asking side: what clients ask and the answers. `receive` runs inside network callbacks, the rest in the
// worker's loop, where the catalog may be asked. Must not call PostgreSQL itself.
#include <algorithm>
#include <functional>

#include "core/hub.hpp"
#include "core/reply.hpp"

namespace plank::core {

namespace {

constexpr size_t kLongestChannel = 63;
constexpr auto kAskAgain = std::chrono::milliseconds(50);

Fault table_absent(const std::string& id)
{
	return {id, code::kUndefinedTable, kTableAbsent, "",
	        "Track it with plank.track() and grant SELECT on it to the client's role."};
}

size_t size_of(const std::variant<Request, Fault>& asked)
{
	const auto* request = std::get_if<Request>(&asked);
	return request ? request->size() : sizeof asked;
}

}  // namespace

bool Hub::backed_up(const Session& session) noexcept
{
	return session.reply_bytes > kRepliesPause || session.waiting.size() > kWaitingPause;
}

void Hub::pause_reading(Session& session) noexcept
{
	if (session.reading_paused) return;
	session.reading_paused = true;
	session.link.pause_reading(true);
}

void Hub::resume_reading(Session& session) noexcept
{
	if (!session.reading_paused || backed_up(session) || session.requests.size() >= kRequestsResume ||
	    session.request_bytes >= kRequestBytesPause)
		return;
	session.reading_paused = false;
	session.link.pause_reading(false);
}

void Hub::queue_reply(Session& session, FramePtr frame)
{
	close_stretch(session);
	session.reply_bytes += frame->size();
	Waiting item;
	item.reply = std::move(frame);
	session.waiting.push_back(std::move(item));
	if (backed_up(session)) pause_reading(session);
	session.link.request_write();
}

void Hub::reply(Session& session, std::string&& text) { queue_reply(session, Frame::make(text)); }

void Hub::refuse(Session& session, Fault&& fault)
{
	++counters_.errors;
	reply(session, error_message(fault));
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
	session.request_bytes += size_of(parsed);
	session.requests.push_back(std::move(parsed));
	if (session.requests.size() >= kRequestsPause || session.request_bytes >= kRequestBytesPause)
		pause_reading(session);
}

bool Hub::process_requests(std::chrono::steady_clock::time_point deadline)
{
	// A new filter must judge the whole of a transaction or nothing of it.
	if (progress_.begun) return true;
	const auto now = std::chrono::steady_clock::now();
	if (now >= ask_again_at_) {
		asking_.insert(asking_.end(), asking_later_.begin(), asking_later_.end());
		asking_later_.clear();
	}
	// One request of each client in turn, so that nobody's list keeps the others waiting.
	while (!asking_.empty() && std::chrono::steady_clock::now() < deadline) {
		Session& session = *asking_.front();
		asking_.pop_front();
		// Who does not take its answers gets no more of them; pop_waiting brings it back.
		if (backed_up(session)) {
			session.stalled = true;
			continue;
		}
		std::variant<Request, Fault> next = std::move(session.requests.front());
		session.requests.pop_front();
		const size_t bytes = size_of(next);
		session.request_bytes -= bytes;
		bool answered = true;
		try {
			if (auto* fault = std::get_if<Fault>(&next))
				refuse(session, std::move(*fault));
			else
				answered = answer(session, std::get<Request>(next));
		} catch (...) {
			// The catalog's trouble is the worker's to report; the client is answered and goes on.
			const auto* request = std::get_if<Request>(&next);
			refuse(session,
			       {request ? request->id : "", code::kInternalError, "the request could not be answered", "", ""});
			if (!session.requests.empty()) asking_.push_back(&session);
			throw;
		}
		if (!answered) {
			session.requests.push_front(std::move(next));
			session.request_bytes += bytes;
			if (asking_later_.empty()) ask_again_at_ = now + kAskAgain;
			asking_later_.push_back(&session);
			continue;
		}
		if (!session.requests.empty()) asking_.push_back(&session);
		resume_reading(session);
		if (regrouping_work_ > kRegroupingWork) settle();
	}
	start_readings(deadline);
	settle();
	return !asking_.empty();
}

// Who asks for more than plank.subscribe_rate allows waits, like somebody who asks about a table that DDL holds.
bool Hub::has_allowance(Session& session) const noexcept
{
	const auto now = std::chrono::steady_clock::now().time_since_epoch();
	return session.allowance.take(std::chrono::duration_cast<std::chrono::milliseconds>(now).count(),
	                              limits_.subscribe_rate);
}

// False when the question must be asked again later.
bool Hub::answer(Session& session, const Request& request)
{
	if (session.closing) return true;
	if (request.type == RequestType::ping) {
		reply(session, pong_message(request.id));
	} else if (request.type == RequestType::auth) {
		if (!has_allowance(session)) return false;
		authenticate(session, request);
	} else if (session.role.empty()) {
		refuse(session, {request.id, code::kNotAuthenticated, "not authenticated", "",
		                 "Send a token with \"auth\", or let clients in without one with plank.anonymous_role."});
	} else if (request.type == RequestType::subscribe) {
		return has_allowance(session) && subscribe(session, request);
	} else if (request.type == RequestType::tables) {
		reply(session, tables_message(request.id, catalog_.readable_tables(session.role)));
	} else if (!session.find(request.id)) {
		refuse(session, {request.id, code::kInvalidParameter, "no subscription has this id", "", ""});
	} else {
		end_subscriptions(
		    session, [&](const Subscription& subscription) { return subscription.id == request.id; }, "", "");
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
	} else if (lacks_memory_for(session, request)) {
		return true;
	} else if (!request.channel.empty()) {
		return subscribe_channel(session, request);
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
			return start_subscription(session, request, found);
		case Access::absent:
			refuse(session, table_absent(request.id));
			break;
		case Access::key_hidden:
			refuse(session, {request.id, code::kNotSupported, kKeyHidden, "",
			                 "Changes carry the key: grant SELECT on its columns to the client's role."});
			break;
		case Access::busy:
			return false;
		case Access::failed:
			refuse(session, {request.id, code::kInternalError, "the table could not be looked up", found.message, ""});
	}
	return true;
}

// Which columns and which rows; false when the request has been refused, nothing when it must be asked again later.
std::optional<bool> Hub::choose(Session& session, const Request& request, const TableAnswer& found,
                                Subscription& subscription)
{
	if (request.some_columns) {
		for (const std::string& name : request.columns) {
			if (found.has_column(name)) continue;
			const bool left_out =
			    std::find(found.uncaptured.begin(), found.uncaptured.end(), name) != found.uncaptured.end();
			refuse(session, {request.id, left_out ? code::kNotSupported : code::kUndefinedColumn,
			                 left_out ? "column \"" + name + "\" is not tracked"
			                          : "column \"" + name + "\" does not exist or may not be read",
			                 "", left_out ? "Add it to the columns of plank.track()." : ""});
			return false;
		}
		subscription.columns = std::make_shared<const std::vector<std::string>>(request.columns);
		subscription.chosen = true;
	} else {
		subscription.columns = found.readable;
	}
	subscription.rights = make_rights(0, found.readable, "");
	if (request.where.empty() && !found.row_security) return true;
	std::variant<FilterId, FilterFault> filter = evaluator_.add_filter(*session.identity, *found.shape, request.where);
	if (auto* fault = std::get_if<FilterFault>(&filter)) {
		if (fault->sqlstate == kLocked) return std::nullopt;
		if (fault->position > 0 && fault->detail.empty())
			fault->detail = "At character " + std::to_string(fault->position) + ".";
		refuse(session, {request.id, std::move(fault->code), std::move(fault->message), std::move(fault->detail),
		                 std::move(fault->hint)});
		return false;
	}
	if (lacks_memory_for(std::get<FilterId>(filter), session, request)) return false;
	subscription.filter = add_filter(std::get<FilterId>(filter));
	if (subscription.filter != kNoFilter)
		subscription.rights =
		    make_rights(evaluator_.rights(subscription.filter), found.readable, session.identity->key);
	if (!request.where.empty()) subscription.where = keep_where(subscription.filter, request.where);
	return true;
}

bool Hub::start_subscription(Session& session, const Request& request, const TableAnswer& found)
{
	const ShapePtr& shape = found.shape;
	announce_shape(shape);
	Found past;
	if (!find_past(session, request, past)) return past.kind != Found::Kind::later;
	Subscription subscription;
	subscription.id = request.id;
	subscription.relation = shape->relation;
	subscription.events = request.events;
	subscription.numbers_as_text = request.numbers_as_text;
	subscription.snapshot = request.snapshot;
	const std::optional<bool> chosen = choose(session, request, found, subscription);
	if (!chosen || !*chosen) return chosen.has_value();
	add_subscription(session, std::move(subscription));
	note_readable(session.role, found);
	start(session, session.subscriptions.back(), shape, request.since, past);
	return true;
}

// The first of a role's subscriptions to a table says what the next look is compared with.
void Hub::note_readable(const std::string& role, const TableAnswer& found)
{
	Watched& watched = tables_.at(found.shape->relation);
	if (Watched::Role& view = watched.roles.at(role); view.subscriptions == 1) view.readable = found.readable;
	if (!watched.checked) watched.checked = found.shape;
}

// One text for all who say the same.
std::shared_ptr<const std::string> Hub::keep_where(FilterId filter, const std::string& where)
{
	if (filter == kNoFilter) return std::make_shared<const std::string>(where);
	std::shared_ptr<const std::string>& known = filters_[filter].where;
	if (!known) known = std::make_shared<const std::string>(where);
	return *known == where ? known : std::make_shared<const std::string>(where);
}

void Hub::add_subscription(Session& session, Subscription&& subscription)
{
	subscription.since = clock_();
	watch(session, subscription);
	session.subscriptions.push_back(std::move(subscription));
	changed_subscriptions(session);
}

bool Hub::subscribe_channel(Session& session, const Request& request)
{
	if (request.channel.size() > kLongestChannel || !catalog_.may_hear(session.role, request.channel)) {
		refuse(session, {request.id, code::kInsufficientPrivilege, "channel is not exposed to this role", "",
		                 "Expose it with plank.expose()."});
		return true;
	}
	Found past;
	if (!find_past(session, request, past)) return past.kind != Found::Kind::later;
	Subscription subscription;
	subscription.id = request.id;
	subscription.channel = request.channel;
	add_subscription(session, std::move(subscription));
	start(session, session.subscriptions.back(), nullptr, request.since, past);
	return true;
}

}  // namespace plank::core
