// The HTTP side of a connection: requests are answered one by one, an upgrade makes it a WebSocket.
// Runs in the worker, inside libwebsockets and libuv callbacks. Must not call PostgreSQL.
//
// libwebsockets' own HTTP server is not used, and no socket is ever adopted with LWS_ADOPT_HTTP: 4.1.6 has
// CVE-2025-11677 in its upgrades, speaks h2c when asked, turns CONNECT into a raw connection unasked, and hands an
// established WebSocket to a parser that cannot be made to refuse what RFC 6455 wants refused (decoder.hpp).
#include <libwebsockets.h>

#include <ctime>

#include "net/server_core.hpp"
#include "net/session.hpp"

namespace plank::net {

namespace {

const char* status_text(int status) noexcept
{
	switch (status) {
		case 200:
			return "OK";
		case 204:
			return "No Content";
		case 304:
			return "Not Modified";
		case 400:
			return "Bad Request";
		case 401:
			return "Unauthorized";
		case 403:
			return "Forbidden";
		case 404:
			return "Not Found";
		case 405:
			return "Method Not Allowed";
		case 408:
			return "Request Timeout";
		case 413:
			return "Content Too Large";
		case 426:
			return "Upgrade Required";
		case 429:
			return "Too Many Requests";
		case 431:
			return "Request Header Fields Too Large";
		case 500:
			return "Internal Server Error";
		case 503:
			return "Service Unavailable";
		case 505:
			return "HTTP Version Not Supported";
		default:
			return "Status";
	}
}

std::string date_now()
{
	char text[64];
	const time_t now = time(nullptr);
	tm parts;
	gmtime_r(&now, &parts);
	// Names of days and months are English whatever LC_TIME says.
	static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
	                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[parts.tm_wday], parts.tm_mday,
	         months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
	return text;
}

std::string head_of(int status, std::string_view content_type, size_t length, bool last)
{
	std::string head = "HTTP/1.1 " + std::to_string(status) + ' ' + status_text(status) + "\r\nDate: " + date_now() +
	                   "\r\nX-Content-Type-Options: nosniff\r\nContent-Length: " + std::to_string(length) + "\r\n";
	if (!content_type.empty()) head.append("Content-Type: ").append(content_type).append("\r\n");
	if (last) head += "Connection: close\r\n";
	return head;
}

// A handler's text goes into one header line, whatever is in it.
void append_header(std::string& head, std::string_view name, std::string_view value)
{
	if (value.empty()) return;
	head.append(name).append(": ");
	for (const char c : value)
		if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F) head += c;
	head += "\r\n";
}

std::string accept_of(std::string_view key)
{
	const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	unsigned char hash[20];
	lws_SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash);
	char encoded[40];
	lws_b64_encode_string(reinterpret_cast<const char*>(hash), sizeof hash, encoded, sizeof encoded);
	return encoded;
}

HttpRequest request_of(const RequestHead& head, const std::string& peer)
{
	HttpRequest request;
	request.method = head.method;
	request.path = head.path;
	request.query = head.query;
	request.host = head.host;
	request.origin = head.origin;
	request.has_origin = head.has_origin;
	request.authorization = head.authorization;
	request.subprotocols = head.subprotocols;
	request.peer = peer;
	return request;
}

}  // namespace

void Session::process_input()
{
	std::string& input = http_->input;
	if (http_->searched == 0) {
		// RFC 9112 section 2.2: an empty line before the request is forgiven.
		size_t blank = 0;
		while (blank < 4 && input.substr(blank, 2) == "\r\n")
			blank += 2;
		input.erase(0, blank);
		// TLS on a port without it would be waited for until the deadline.
		if (is_tls(input)) return refuse(400, "this port speaks no TLS: use http:// or ws://");
	}
	const size_t end = find_head_end(input, http_->searched);
	if (end == 0 && input.size() <= kMaxHead) {
		http_->searched = input.size();
		return;
	}
	if (end == 0 || end > kMaxHead) return refuse(431, "the request's head is too large");
	// The head's views live as long as this does.
	const std::string text = input.substr(0, end);
	input.erase(0, end);
	http_->searched = 0;
	RequestHead head;
	const auto fault = parse_head(text, head);
	http_->bodiless = head.method == "HEAD";
	if (fault) return refuse(fault->status, fault->text, fault->status == 405 ? "Allow: GET, HEAD\r\n" : "");
	if (!head.wants_upgrade) return serve(head);
	if (!head.upgrade_to_websocket) return refuse(400, "only an upgrade to websocket is supported");
	const std::string rest = std::move(input);
	upgrade(head, rest);
}

void Session::serve(const RequestHead& head)
{
	HttpResponse response;
	const std::string peer = client_behind(server_.trusted_proxies(), address_, head.forwarded_for).text();
	const bool served = server_.guarded([&] { response = server_.handler().on_request(request_of(head, peer)); });
	if (!served) return refuse(500, "internal error");
	respond(response, head);
}

void Session::respond(const HttpResponse& response, const RequestHead& head)
{
	static const auto empty = std::make_shared<const std::string>();
	const auto& body = response.body ? response.body : empty;
	const bool unchanged = response.status == 200 && etag_matches(head.if_none_match, response.etag);
	http_->last = !head.keep_alive || server_.stopping();
	std::string text = head_of(unchanged ? 304 : response.status, response.content_type, body->size(), http_->last);
	append_header(text, "Cache-Control", response.cache_control);
	append_header(text, "ETag", response.etag);
	append_header(text, "Content-Security-Policy", response.content_security_policy);
	if (response.any_origin) append_header(text, "Access-Control-Allow-Origin", "*");
	text += "\r\n";
	const bool with_body = !unchanged && !http_->bodiless && !body->empty();
	// A small answer leaves in one write.
	if (with_body && body->size() <= 4096)
		text += *body;
	else if (with_body)
		http_->body = body;
	auto shared = std::make_shared<const std::string>(std::move(text));
	state_ = State::responding;
	progress_at_ = server_.now();
	const std::string_view view = *shared;
	send(std::move(shared), view);
	server_.make_ready(*this);
}

void Session::refuse(int status, std::string_view text, std::string_view header)
{
	server_.counters().refused++;
	http_->last = true;
	http_->input = {};
	std::string response = head_of(status, "text/plain; charset=utf-8", text.size() + 1, true);
	response.append("Cache-Control: no-store\r\n").append(header).append("\r\n");
	if (!http_->bodiless) response.append(text).append("\n");
	auto shared = std::make_shared<const std::string>(std::move(response));
	state_ = State::responding;
	progress_at_ = server_.now();
	const std::string_view view = *shared;
	send(std::move(shared), view);
	server_.make_ready(*this);
}

void Session::finish_response()
{
	if (http_->body) {
		const std::string_view view = *http_->body;
		send(std::move(http_->body), view);
		return;
	}
	if (http_->last) return begin_linger();
	state_ = State::head;
	deadline_ = server_.now() + static_cast<uint64_t>(server_.limits().handshake_timeout_ms);
	process_input();
	apply_reading();
}

void Session::upgrade(const RequestHead& head, std::string_view rest)
{
	const Limits& limits = server_.limits();
	if (!limits.websocket_path.empty() && head.path != limits.websocket_path) return refuse(404, "not found");
	if (head.websocket_version != "13")
		return refuse(426, "only WebSocket version 13 is supported",
		              "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n");
	if (!is_websocket_key(head.websocket_key)) return refuse(400, "Sec-WebSocket-Key is not valid");
	if (server_.stopping() || !server_.has_room()) return refuse(503, "too many connections", "Retry-After: 5\r\n");
	const HostAddress client = client_behind(server_.trusted_proxies(), address_, head.forwarded_for);
	peer_ = client.text();
	if (server_.trusted_proxies().contains(address_) && !server_.rate_allows(client))
		return refuse(429, "too many new connections from this address", "Retry-After: 1\r\n");
	UpgradeAnswer answer;
	if (!server_.guarded([&] { answer = server_.handler().on_upgrade(request_of(head, peer_)); }))
		return refuse(500, "internal error");
	if (answer.status != 101) {
		const std::string again =
		    answer.retry_after > 0 ? "Retry-After: " + std::to_string(answer.retry_after) + "\r\n" : std::string();
		return refuse(answer.status, answer.reason, again);
	}

	std::string text =
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Accept: " +
	    accept_of(head.websocket_key) + "\r\n";
	// RFC 6455 section 4.2.2: who offers only what the server does not know is accepted without a subprotocol, and
	// decides by itself.
	if (lists_token(head.subprotocols, "plank.v1", false)) text += "Sec-WebSocket-Protocol: plank.v1\r\n";
	text += "\r\n";
	auto shared = std::make_shared<const std::string>(std::move(text));
	const std::string_view view = *shared;
	send(std::move(shared), view);

	http_.reset();
	state_ = State::open;
	context_ = answer.context;
	opened_ = true;
	server_.websocket_opened();
	schedule_ping(server_.now(), true);
	server_.make_ready(*this);
	if (!server_.guarded([&] { server_.handler().on_open(*this); })) fail(CloseCode::internal_error, "internal error");
	if (rest.empty()) return;
	std::string frames(rest);
	receive_frames(frames.data(), frames.size());
}

}  // namespace plank::net
