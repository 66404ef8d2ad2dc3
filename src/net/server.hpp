// The network layer's whole face: one WebSocket and HTTP server on a libuv loop that somebody else turns.
// Runs in the worker (and in test/net/echo) on one thread. Must not call PostgreSQL; nothing here throws across
// a libwebsockets or libuv callback.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL: include it from worker/ through its own headers only"
#endif

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/frame.hpp"

struct uv_loop_s;

namespace plank::net {

// Close codes of protocol.md section 4, rule 12, and those of RFC 6455 that the server itself uses.
enum class CloseCode : uint16_t {
	normal = 1000,
	going_away = 1001,
	protocol_error = 1002,
	unsupported_data = 1003,
	invalid_payload = 1007,
	policy_violation = 1008,
	too_big = 1009,
	internal_error = 1011,
	try_again_later = 1013,
	token_invalid = 4001,
	ping_timeout = 4002,
	too_slow = 4008,
};

using core::Frame;
using core::FramePtr;

// Limits and deadlines; every one may change at run time with Server::set_limits.
struct Limits {
	int max_connections = 10000;
	size_t max_message_size = 64 * 1024;   // bytes of one message from a client; beyond it 1009
	size_t send_buffer = 4 * 1024 * 1024;  // bytes waiting for a client ...
	int send_timeout_ms = 10000;           // ... that has taken none for this long: closed with 4008
	int ping_interval_ms = 25000;          // unanswered for two intervals: closed with 4002
	int handshake_timeout_ms = 10000;      // request headers must be complete by then
	int message_timeout_ms = 30000;        // a message begun must be complete by then
	int connection_rate = 0;               // new clients of one address, a second; 0: no limit
	bool accept_binary = false;            // else 1003; true hands them to Handler::on_binary
	std::string websocket_path = "/ws";    // upgrades elsewhere get 404; empty: any path
};

struct Address {
	// As in PostgreSQL's listen_addresses: a name, an address, "*", "0.0.0.0" or "::". One that begins with a slash is the
	// path of a Unix-domain socket, which never speaks TLS; its port is what `port` tells when no other is listened on.
	std::string host;
	int port = 0;
};

// What a client asked for when it connected. Views are valid during the call only.
struct HttpRequest {
	std::string_view method;
	std::string_view path;   // without the query
	std::string_view query;  // raw, without "?"
	std::string_view host;
	std::string_view origin;  // empty when absent
	bool has_origin = false;
	std::string_view authorization;  // empty when absent
	std::string_view subprotocols;   // Sec-WebSocket-Protocol as sent
	std::string_view peer;           // textual address, beyond trusted proxies; empty for a Unix-domain socket
};

struct HttpResponse {
	int status = 200;
	std::string content_type = "text/plain; charset=utf-8";
	std::shared_ptr<const std::string> body;  // shared: static files are served without a copy per request
	std::string cache_control = "no-store";
	std::string etag;                     // empty: none; else If-None-Match is answered with 304
	std::string content_security_policy;  // empty: none
	bool any_origin = false;              // scripts of pages from elsewhere may read it
};

struct UpgradeAnswer {
	int status = 101;         // anything else refuses the upgrade with this HTTP status ...
	std::string reason;       // ... and this text as the body
	void* context = nullptr;  // handed back by Connection::context()
	int retry_after = 0;      // of a refusal: in how many seconds to try again; 0: not said
};

// One WebSocket client. Owned by the server; the handler may keep the reference until on_close returns.
class Connection {
 public:
	// Asks that Handler::next_frame be called as soon as the socket takes bytes. Cheap; may be called often.
	void request_write() noexcept;
	// Stops or starts reading from this client (back-pressure on replies). What was already received still arrives.
	void pause_reading(bool paused) noexcept;
	// Sends what next_frame still gives if `drain`, then a close frame; on_close follows, never from within this call.
	// No message is delivered any more. A second call changes nothing, but that it ends a drain.
	void close(CloseCode code, std::string_view reason, bool drain = false) noexcept;

	void* context() const noexcept;
	void set_context(void* context) noexcept;
	std::string_view peer() const noexcept;
	uint64_t connected_at_ms() const noexcept;  // monotonic
	uint64_t bytes_sent() const noexcept;
	uint64_t bytes_received() const noexcept;
	// Bytes of memory that the connection takes, about; what others are sent too counts in shares.
	size_t memory() const noexcept;

 protected:
	Connection() = default;
	~Connection() = default;
};

// What the server asks of its owner. Called inside libwebsockets callbacks: an exception thrown here is caught by
// the server, logged, and ends that one connection with 1011. Must be short.
class Handler {
 public:
	virtual ~Handler() = default;

	// A GET that is no upgrade, for any path. Other methods are answered 405 by the server.
	virtual HttpResponse on_request(const HttpRequest& request) = 0;
	// An upgrade (method, version, key and "Upgrade: websocket" already checked; max_connections too).
	virtual UpgradeAnswer on_upgrade(const HttpRequest& request) = 0;
	virtual void on_open(Connection& connection) = 0;
	// One whole text message, valid UTF-8, at most max_message_size. Binary messages are refused with 1003.
	virtual void on_message(Connection& connection, std::string_view text) = 0;
	virtual void on_binary(Connection& connection, std::string_view bytes) { (void)connection, (void)bytes; }
	// The socket takes bytes: the next frame to send, or null when nothing waits.
	virtual FramePtr next_frame(Connection& connection) = 0;
	// Bytes that wait for this client beyond what next_frame has given; for send_buffer.
	virtual size_t waiting(const Connection& connection) noexcept = 0;
	// Once for each on_open. The connection takes no more frames; its farewell may still be under way.
	virtual void on_close(Connection& connection) noexcept = 0;
	// level: 'E' error, 'W' warning, 'I' log, 'D' debug. One line, no line feed.
	virtual void log(char level, std::string_view line) noexcept = 0;
};

struct Counters {
	uint64_t accepted = 0, refused = 0, closed = 0;
	uint64_t bytes_sent = 0, bytes_received = 0, frames_sent = 0, messages_received = 0;
	uint64_t closed_too_slow = 0, closed_ping_timeout = 0, closed_protocol = 0;
};

class Server {
 public:
	// `loop` must outlive the server. The owner runs uv_run(loop, UV_RUN_NOWAIT) in its own loop. One server a process
	// at a time. Sets the soft limit of open files to what max_connections needs, at least 65536 where the hard limit
	// allows it; null and a logged line when libwebsockets cannot start. Destroying the server turns the loop until its handles are closed.
	static std::unique_ptr<Server> create(uv_loop_s* loop, Handler& handler, const Limits& limits);
	virtual ~Server() = default;

	// Makes the listening sockets equal to `addresses`, keeping those that are already there. SO_REUSEPORT is set when
	// `share_port`. Returns one line per address that failed (what and why); the others listen.
	virtual std::vector<std::string> listen(const std::vector<Address>& addresses, bool share_port) = 0;
	// The port of the first listening socket (for port 0), or 0.
	virtual int port() const noexcept = 0;
	virtual void set_limits(const Limits& limits) noexcept = 0;
	// Whose X-Forwarded-For is believed, as a comma-separated list. Returns the entries that cannot be read.
	virtual std::vector<std::string> set_trusted_proxies(const std::string& list) = 0;
	// From now on new clients speak TLS with what these two PEM files hold; without TLS when both are empty. Returns why not,
	// and then nothing has changed. Clients that are there stay as they are.
	virtual std::string set_tls(const std::string& certificate_file, const std::string& key_file) = 0;
	virtual size_t connections() const noexcept = 0;
	// Memory of clients that have been closed and are not gone yet, for it takes a while to say goodbye.
	virtual size_t leaving_memory() const noexcept = 0;
	virtual const Counters& counters() const noexcept = 0;
	// Stops listening and closes every client with `code`. `stopped()` is true when the last one is gone; the owner keeps
	// turning the loop until then or until its patience ends, and then destroys the server.
	virtual void stop(CloseCode code, std::string_view reason) noexcept = 0;
	virtual bool stopped() const noexcept = 0;
};

}  // namespace plank::net
