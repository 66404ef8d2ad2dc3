// HTTP answers, upgrades and the bridge between connections and sessions. Runs in the worker, inside network callbacks.
// Must not call PostgreSQL.
#include "worker/web.hpp"

#include <sys/random.h>
#include <cstring>
#include <utility>

#include "core/json.hpp"
#include "core/reply.hpp"
#include "worker/assets.hpp"

namespace plank::worker {

namespace {

constexpr size_t kMostLines = 100;
constexpr int kRetryAfter = 5;  // s
constexpr const char* kMemoryIsLow = "the server is short of memory";

// One connection and its session. The hub knows it as a Link, the network by its context.
struct Client final : core::Link {
	explicit Client(net::Connection& the_connection) : connection(the_connection) {}
	void request_write() noexcept override { connection.request_write(); }
	void pause_reading(bool paused) noexcept override { connection.pause_reading(paused); }
	void close(uint16_t code, std::string_view reason, bool drain) noexcept override
	{
		connection.close(static_cast<net::CloseCode>(code), reason, drain);
	}

	size_t memory() const noexcept override { return sizeof *this + connection.memory(); }

	net::Connection& connection;
	core::Session* session = nullptr;
};

Client& client_of(const net::Connection& connection) { return *static_cast<Client*>(connection.context()); }

// 128 random bits in hex.
std::string session_name()
{
	uint8_t bytes[16];
	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) throw std::bad_alloc();
	std::string name;
	for (const uint8_t byte : bytes) {
		name += "0123456789abcdef"[byte >> 4];
		name += "0123456789abcdef"[byte & 15];
	}
	return name;
}

bool equal_ignoring_case(std::string_view a, std::string_view b)
{
	return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view trim(std::string_view text)
{
	while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
		text.remove_prefix(1);
	while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
		text.remove_suffix(1);
	return text;
}

// Calls `take` with each part of `list` that begins with `prefix`, without it.
template <typename Take>
void each_with_prefix(std::string_view list, char separator, std::string_view prefix, Take&& take)
{
	while (!list.empty()) {
		const size_t end = list.find(separator);
		const std::string_view part = trim(list.substr(0, end));
		list.remove_prefix(end == std::string_view::npos ? list.size() : end + 1);
		if (part.starts_with(prefix)) take(part.substr(prefix.size()));
	}
}

// The token, from any of the places where it may stand (protocol.md section 5); more than one is a contradiction. Another
// scheme of Authorization is for a proxy on the way. A token needs no escapes in a URL, so none are undone.
struct BroughtToken {
	std::optional<std::string> token;
	bool contradictory = false;
};
BroughtToken brought_token(const net::HttpRequest& request)
{
	BroughtToken brought;
	const auto take = [&](std::string_view token) {
		brought.contradictory |= brought.token && *brought.token != token;
		brought.token = token;
	};
	const std::string_view scheme = request.authorization.substr(0, request.authorization.find(' '));
	if (equal_ignoring_case(scheme, "bearer")) take(trim(request.authorization.substr(scheme.size())));
	each_with_prefix(request.subprotocols, ',', "plank.token.", take);
	each_with_prefix(request.query, '&', "access_token=", take);
	return brought;
}

std::shared_ptr<const std::string> shared(std::string_view text) { return std::make_shared<const std::string>(text); }

net::HttpResponse asset(const std::shared_ptr<const std::string>& body, const char* type, const std::string& etag)
{
	net::HttpResponse response;
	response.content_type = type;
	response.body = body;
	response.cache_control = "no-cache";
	response.etag = etag;
	return response;
}

std::string etag_of(std::string_view body) { return '"' + std::to_string(std::hash<std::string_view>{}(body)) + '"'; }

}  // namespace

void Origins::set(std::string_view list)
{
	list_.clear();
	all_ = false;
	while (!list.empty()) {
		const size_t comma = list.find(',');
		std::string_view item = list.substr(0, comma);
		list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
		while (!item.empty() && item.front() == ' ')
			item.remove_prefix(1);
		while (!item.empty() && (item.back() == ' ' || item.back() == '/'))
			item.remove_suffix(1);
		if (item.size() >= 2 && item.front() == '"' && item.back() == '"') item = item.substr(1, item.size() - 2);
		all_ |= item == "*";
		if (!item.empty()) list_.emplace_back(item);
	}
}

// Without an Origin it is no browser. The page's own host is an origin whose authority is exactly the Host it asked for:
// comparing the whole of both leaves no room for suffixes, other ports or "null".
bool Origins::allows(const net::HttpRequest& request) const
{
	if (!request.has_origin || all_) return true;
	for (const std::string& allowed : list_)
		if (equal_ignoring_case(allowed, request.origin)) return true;
	for (const std::string_view scheme : {"http://", "https://"})
		if (request.origin.starts_with(scheme) && !request.host.empty() &&
		    equal_ignoring_case(request.origin.substr(scheme.size()), request.host))
			return true;
	return false;
}

net::HttpResponse Web::on_request(const net::HttpRequest& request)
{
	static const auto kClient = shared(assets::kClient);
	static const auto kPage = shared(assets::kPage);
	static const std::string kClientTag = etag_of(assets::kClient);
	static const std::string kPageTag = etag_of(assets::kPage);

	if (request.path == "/plank.js") {
		// A page of plank.allowed_origins imports it as a module, which browsers fetch with CORS. It holds no secret.
		net::HttpResponse response = asset(kClient, "text/javascript; charset=utf-8", kClientTag);
		response.any_origin = true;
		return response;
	}
	if (request.path == "/") {
		net::HttpResponse response = asset(kPage, "text/html; charset=utf-8", kPageTag);
		response.content_security_policy = assets::kPagePolicy;
		return response;
	}
	net::HttpResponse response;
	if (request.path == "/health") {
		const std::string reason = not_ready.empty() && memory_is_low ? kMemoryIsLow : not_ready;
		response.status = reason.empty() ? 200 : 503;
		response.content_type = "application/json";
		std::string body = reason.empty() ? "{\"status\":\"ready\"" : "{\"status\":\"not ready\",\"reason\":";
		if (!reason.empty()) core::append_json_string(body, reason);
		body += ",\"database\":";
		core::append_json_string(body, database);
		body += ",\"server\":\"" PLANK_VERSION "\",\"clients\":" + std::to_string(hub_.sessions()) + "}\n";
		response.body = shared(body);
		return response;
	}
	response.status = 404;
	response.body = shared("not found\n");
	return response;
}

net::UpgradeAnswer Web::on_upgrade(const net::HttpRequest& request)
{
	net::UpgradeAnswer answer;
	if (!not_ready.empty()) {
		answer.status = 503;
		answer.reason = not_ready + "\n";
	} else if (memory_is_low) {
		answer.status = 503;
		answer.reason = std::string(kMemoryIsLow) + "; its plank.max_memory says how much there may be\n";
		answer.retry_after = kRetryAfter;
	} else if (!origins.allows(request)) {
		++refused;
		answer.status = 403;
		answer.reason = "this origin may not connect; the server's plank.allowed_origins lists those that may\n";
	} else {
		BroughtToken brought = brought_token(request);
		if (brought.contradictory) {
			++refused;
			answer.status = 400;
			answer.reason = "more than one token was sent\n";
		}
		// on_open follows at once.
		token_ = std::move(brought.token);
	}
	return answer;
}

void Web::on_open(net::Connection& connection)
{
	std::optional<std::string> token = std::exchange(token_, std::nullopt);
	auto client = std::make_unique<Client>(connection);
	client->session = token ? &hub_.open_with_token(*client, session_name(), std::move(*token))
	                        : &hub_.open(*client, session_name(), anonymous);
	connection.set_context(client.release());
}

void Web::on_message(net::Connection& connection, std::string_view text)
{
	hub_.receive(*client_of(connection).session, text);
}

net::FramePtr Web::next_frame(net::Connection& connection) { return hub_.next_frame(*client_of(connection).session); }

size_t Web::waiting(const net::Connection& connection) noexcept
{
	return connection.context() ? hub_.waiting(*client_of(connection).session) : 0;
}

void Web::on_close(net::Connection& connection) noexcept
{
	if (!connection.context()) return;
	const std::unique_ptr<Client> client(&client_of(connection));
	connection.set_context(nullptr);
	hub_.close(*client->session);
}

void Web::log(char level, std::string_view line) noexcept
{
	try {
		if (lines_.size() < kMostLines) lines_.push_back({level, std::string(line)});
	} catch (...) {}
}

std::vector<Web::Line> Web::take_lines()
{
	std::vector<Line> lines;
	lines.swap(lines_);
	return lines;
}

const net::Connection& Web::connection_of(const core::Session& session) noexcept
{
	return static_cast<const Client&>(session.link).connection;
}

}  // namespace plank::worker
