// One client's socket from accept to close: HTTP first, then WebSocket (states: README.md).
// Runs in the worker, inside libwebsockets and libuv callbacks. Must not call PostgreSQL, and must not end its own
// libwebsockets connection: it says so, and whoever called (server.cpp) does it.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <memory>
#include <string>
#include <string_view>

#include "net/address.hpp"
#include "net/decoder.hpp"
#include "net/request.hpp"
#include "net/server.hpp"
#include "net/tls.hpp"

struct lws;

namespace plank::net {

class ServerCore;

// A place in one of the server's rings; a session has one per ring.
template <class Ring>
struct Link {
	Link* next = this;
	Link* previous = this;
	Link() = default;
	Link(const Link&) = delete;
	Link& operator=(const Link&) = delete;
	~Link() { unlink(); }
	bool alone() const noexcept { return next == this; }
	void unlink() noexcept
	{
		next->previous = previous;
		previous->next = next;
		next = previous = this;
	}
	void insert_before(Link& other) noexcept
	{
		unlink();
		next = &other;
		previous = other.previous;
		previous->next = this;
		other.previous = this;
	}
};
struct AllRing;    // every session
struct ReadyRing;  // those whose output is to be looked at before the loop sleeps

class Session final : public Connection, private Decoder::Sink, public Link<AllRing>, public Link<ReadyRing> {
 public:
	enum class State : uint8_t {
		head,        // waits for a request
		responding,  // a response is under way
		open,        // a WebSocket
		draining,    // as open, but no message is delivered, and a close frame follows the handler's last frame
		closing,     // the handler is gone; the close frame is to be sent, or the peer's is awaited
		lingering,   // all is sent and the write side shut; input is dropped until the peer's end or a deadline
	};

	// `tls` null: the client speaks plain HTTP.
	Session(ServerCore& server, const HostAddress& address, SSL_CTX* tls);
	~Session();
	Session(const Session&) = delete;
	Session& operator=(const Session&) = delete;

	void adopted(lws* wsi) noexcept { wsi_ = wsi; }
	lws* wsi() const noexcept { return wsi_; }

	// Bytes arrived. They are changed in place. False: the connection has ended and must be closed.
	[[nodiscard]] bool receive(char* data, size_t length);
	// Writes what can be written now. False: the socket is broken and must be closed.
	[[nodiscard]] bool flush();
	// Looks at the clock. False: the time has come to cut the connection.
	[[nodiscard]] bool check_deadlines(uint64_t now);
	// The server stops: WebSockets get a close frame, a response is finished, the rest is cut by the next sweep.
	void stop(CloseCode code, std::string_view reason) noexcept;
	// Ends a WebSocket whose input cannot be read on, or whose handler threw.
	void fail(CloseCode code, std::string_view reason) noexcept;

	bool is_leaving() const noexcept { return state_ == State::closing || state_ == State::lingering; }
	size_t memory() const noexcept;
	bool is_websocket() const noexcept { return opened_ && !told_close_; }
	bool needs_attention_soon() const noexcept { return state_ == State::closing || state_ == State::lingering; }

 private:
	friend class Connection;

	// What only an HTTP connection needs; given back at the upgrade.
	struct Http {
		std::string input;    // the head so far, and what was pipelined behind it
		size_t searched = 0;  // of `input`, for the end of the head
		std::shared_ptr<const std::string> body;
		bool last = false;      // the connection ends with this response
		bool bodiless = false;  // the request was HEAD
	};

	// http.cpp
	void process_input();
	void serve(const RequestHead& head);
	void upgrade(const RequestHead& head, std::string_view rest);
	void respond(const HttpResponse& response, const RequestHead& head);
	void refuse(int status, std::string_view text, std::string_view header = {});
	void finish_response();

	// session.cpp
	bool receive_tls(char* data, size_t length);
	void receive_text(char* data, size_t length);
	void receive_frames(char* data, size_t length);
	bool take_message(std::string_view bytes, bool binary) override;
	bool take_ping(std::string_view payload) override;
	bool take_pong() override;
	bool take_close(uint16_t code) override;
	void begin_close(CloseCode code, std::string_view reason, bool drain) noexcept;
	void tell_close() noexcept;

	// output.cpp
	enum class Step : uint8_t { wrote, idle, broken };
	Step write_next();
	bool write(const char* data, size_t length);
	bool write_wire(const char* data, size_t length);
	void send(std::shared_ptr<const void> owner, std::string_view bytes) noexcept;
	void set_blocked(bool blocked);
	void apply_reading() noexcept;
	void begin_linger() noexcept;

	// deadlines.cpp
	bool check_open(uint64_t now);
	void check_ping(uint64_t now);
	bool progressed() noexcept;
	void schedule_ping(uint64_t now, bool first) noexcept;

	ServerCore& server_;
	lws* wsi_ = nullptr;
	void* context_ = nullptr;
	HostAddress address_;
	std::string peer_;  // of the client, beyond trusted proxies
	std::unique_ptr<TlsStream> tls_;
	std::unique_ptr<Http> http_;
	Decoder decoder_;

	std::shared_ptr<const void> out_owner_;  // keeps `out_` alive
	std::string_view out_;                   // begun, not yet all handed over: nothing may come between
	size_t out_size_ = 0;                    // ... and how much it was
	std::string control_;                    // pongs and pings, framed, that go before the next message
	std::string close_frame_;

	uint64_t connected_at_;
	uint64_t bytes_sent_ = 0, bytes_received_ = 0;
	uint64_t deadline_ = 0;          // when to give up what the state waits for
	uint64_t message_since_ = 0;     // when the message or frame under way began, 0: none
	uint64_t ping_due_ = 0;          // 0: no pings
	uint64_t unanswered_since_ = 0;  // the oldest ping without a pong, 0: none
	uint64_t progress_at_ = 0;       // when a blocked client last took a byte
	uint64_t progress_mark_ = 0;     // what `progressed` compares with

	State state_ = State::head;
	bool opened_ = false;      // on_open was called
	bool told_close_ = false;  // and on_close
	bool blocked_ = false;     // libwebsockets holds a piece the socket did not take
	bool paused_ = false;      // by the handler
	bool reading_ = true;
	bool peer_closed_ = false;  // its close frame has come
	bool close_sent_ = false;
	bool shut_ = false;    // lingering: the write side's end was sent
	bool hasty_ = false;   // what it holds is needed, so its farewell lasts only while it reads
	bool broken_ = false;  // input cannot be read any more
};

}  // namespace plank::net
