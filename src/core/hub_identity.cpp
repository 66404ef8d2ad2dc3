// The hub's doors: who its sessions are, how they become somebody, and when they end because they no longer may be.
// Runs in the worker; `open` inside network callbacks, the rest in the worker's loop. Must not call PostgreSQL itself.
#include <functional>

#include "core/hub.hpp"
#include "core/reply.hpp"

namespace plank::core {

namespace {

constexpr int64_t kAuthenticationDeadline = 10 * 1000000;
constexpr uint16_t kTokenInvalid = 4001;

}  // namespace

Session& Hub::open(Link& link, std::string name, IdentityPtr identity)
{
	auto session = std::make_unique<Session>(link, std::move(name), std::move(identity), clock_());
	Session& opened = *session;
	sessions_.emplace(&opened, std::move(session));
	reply(opened, welcome_message(opened.name, opened.role));
	return opened;
}

// The token is the first thing the client asks: what else it asks waits behind it, and so does `welcome`.
Session& Hub::open_with_token(Link& link, std::string name, std::string token)
{
	auto session = std::make_unique<Session>(link, std::move(name), nullptr, clock_());
	Session& opened = *session;
	sessions_.emplace(&opened, std::move(session));
	Request request;
	request.type = RequestType::auth;
	request.token = std::move(token);
	request.on_connect = true;
	opened.requests.emplace_back(std::move(request));
	asking_.push_back(&opened);
	return opened;
}

void Hub::authenticate(Session& session, const Request& request)
{
	Admission admission;
	try {
		if (gate_) admission = gate_->admit(request.token);
	} catch (...) {
		// Nobody knows yet whether the token is good: the client stays, as nobody, and may send it again.
		if (request.on_connect) reply(session, welcome_message(session.name, session.role));
		throw;
	}
	if (admission.identity && request.on_connect) {
		session.become(std::move(admission.identity));
		return reply(session, welcome_message(session.name, session.role));
	}
	if (!admission.identity) {
		if (request.on_connect) reply(session, welcome_message(session.name, {}));
		const std::string reason = admission.message;
		refuse(session,
		       {request.id, code::kNotAuthenticated, std::move(admission.message), "", std::move(admission.hint)});
		return close_all({&session}, kTokenInvalid, reason, true);
	}
	if (session.identity && session.identity->key != admission.identity->key)
		end_subscriptions(
		    session, [](const Subscription&) { return true; }, code::kNotAuthenticated,
		    "the client has become somebody else");
	// Subscriptions are counted by role, so it changes when none is left of the former one.
	session.become(std::move(admission.identity));
	reply(session, authenticated_message(request.id, session.role, session.identity->expires_at));
}

void Hub::end_identities(const std::function<const char*(const Identity&)>& judge)
{
	std::vector<std::pair<Session*, const char*>> ended;
	for (const auto& [key, session] : sessions_)
		if (session->identity && !session->closing)
			if (const char* reason = judge(*session->identity)) ended.emplace_back(session.get(), reason);
	for (const auto& [session, reason] : ended)
		end_subscriptions(
		    *session, [](const Subscription&) { return true; }, code::kNotAuthenticated, reason);
	for (const auto& [session, reason] : ended)
		close_all({session}, kTokenInvalid, reason, true);
}

void Hub::end_expired()
{
	const int64_t now = clock_();
	end_identities(
	    [&](const Identity& identity) { return now >= identity.ends_at ? "the token has expired" : nullptr; });
}

void Hub::close_unauthenticated()
{
	const int64_t now = clock_();
	std::vector<Session*> late;
	for (const auto& [key, session] : sessions_)
		if (!session->identity && !session->closing && now - session->connected_at >= kAuthenticationDeadline)
			late.push_back(session.get());
	close_all(late, kTokenInvalid, "no token was sent", true);
}

}  // namespace plank::core
