// Reads the head of an HTTP/1.x request (RFC 9112), strictly: what could be read in two ways is refused.
// Pure: runs in the worker, knows no socket. Must not keep views beyond the buffer they point into.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace plank::net {

inline constexpr size_t kMaxHead = 16 * 1024;  // a token in a header or in the query must fit

// Why a request is refused, and with what status. The connection closes after it.
struct HttpFault {
	int status;
	const char* text;
};

struct RequestHead {
	std::string_view method, path, query;
	bool http_1_0 = false;
	bool keep_alive = true;
	bool has_body = false;
	bool wants_upgrade = false;         // an Upgrade header is there
	bool upgrade_to_websocket = false;  // and it and Connection are what a WebSocket handshake needs
	bool has_origin = false;
	std::string_view host, origin, authorization, if_none_match;
	std::string_view websocket_key, websocket_version;
	std::string subprotocols;   // all Sec-WebSocket-Protocol headers, joined
	std::string forwarded_for;  // all X-Forwarded-For headers, joined
};

// Where the head ends, one past the empty line; 0 while it is not complete. `from` is what was searched already.
[[nodiscard]] size_t find_head_end(std::string_view buffer, size_t from) noexcept;

// Parses a whole head, its empty line included.
[[nodiscard]] std::optional<HttpFault> parse_head(std::string_view text, RequestHead& head);

// Whether a comma-separated header value lists `token`.
[[nodiscard]] bool lists_token(std::string_view value, std::string_view token, bool ignore_case) noexcept;

[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

// Whether an If-None-Match value names this entity tag (weak comparison).
[[nodiscard]] bool etag_matches(std::string_view if_none_match, std::string_view etag) noexcept;

// Whether this is the base64 text of 16 bytes.
[[nodiscard]] bool is_websocket_key(std::string_view key) noexcept;

}  // namespace plank::net
