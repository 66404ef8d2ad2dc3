// A WebSocket client's messages and its close handshake, and the face that handlers see.
// Runs in the worker, inside libwebsockets and libuv callbacks. Must not call PostgreSQL.
#include "net/session.hpp"

#include <exception>

#include "net/framing.hpp"
#include "net/server_core.hpp"

namespace plank::net {

namespace {

// A client that has closed, or that is closed for what it sent, gets what waits for it for this long.
constexpr uint64_t kDrainMs = 2000;

constexpr size_t kMaxReason = kMaxControlPayload - 2;

std::string close_frame(uint16_t code, std::string_view reason)
{
	std::string frame;
	if (code == 0) {
		append_control(frame, kClose, {});
		return frame;
	}
	// A reason is cut between characters, never inside one.
	size_t length = reason.size();
	if (length > kMaxReason)
		for (length = kMaxReason; length > 0 && (static_cast<uint8_t>(reason[length]) & 0xC0) == 0x80;)
			length--;
	std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
	payload += reason.substr(0, length);
	append_control(frame, kClose, payload);
	return frame;
}

}  // namespace

Session::Session(ServerCore& server, const HostAddress& address, SSL_CTX* tls)
    : server_(server),
      address_(address),
      peer_(address.text()),
      tls_(tls ? std::make_unique<TlsStream>(*tls) : nullptr),
      http_(std::make_unique<Http>()),
      connected_at_(server.now())
{
	deadline_ = connected_at_ + static_cast<uint64_t>(server.limits().handshake_timeout_ms);
	server.session_created(*this);
}

Session::~Session()
{
	tell_close();
	server_.session_gone(*this);
}

bool Session::receive(char* data, size_t length)
{
	const bool first = bytes_received_ == 0;
	bytes_received_ += length;
	server_.counters().bytes_received += length;
	if (tls_ && first && is_plain_http({data, length})) {
		// Answered in plain text, for whoever took the wrong scheme, and not read on.
		tls_.reset();
		refuse(400, "this port speaks TLS: use https:// or wss://");
		return true;
	}
	if (tls_) return receive_tls(data, length);
	receive_text(data, length);
	return true;
}

bool Session::receive_tls(char* data, size_t length)
{
	const auto outcome = tls_->feed({data, length}, [this](char* plain, size_t size) { receive_text(plain, size); });
	if (tls_->has_output()) server_.make_ready(*this);
	if (outcome == TlsStream::Outcome::fine) return true;
	// An end that the client announced is the end of its connection, as without TLS.
	if (outcome == TlsStream::Outcome::ended || state_ == State::lingering) return false;
	server_.counters().closed_protocol++;
	tell_close();
	out_ = {};
	out_owner_.reset();
	begin_linger();
	server_.make_ready(*this);
	return true;
}

void Session::receive_text(char* data, size_t length)
{
	switch (state_) {
		case State::head:
		case State::responding:
			if (http_->last) break;
			http_->input.append(data, length);
			if (state_ == State::head) process_input();
			apply_reading();
			break;
		case State::open:
		case State::draining:
		case State::closing:
			receive_frames(data, length);
			break;
		case State::lingering:
			break;
	}
}

void Session::receive_frames(char* data, size_t length)
{
	if (broken_ || peer_closed_) return;
	const Limits& limits = server_.limits();
	const auto fault = decoder_.feed(data, length, {limits.max_message_size, limits.accept_binary}, *this);
	if (fault) {
		// Messages before the fault are answered.
		server_.counters().closed_protocol++;
		broken_ = true;
		begin_close(fault->code, fault->reason, true);
		return;
	}
	if (!decoder_.unfinished())
		message_since_ = 0;
	else if (message_since_ == 0)
		message_since_ = server_.now();
	apply_reading();
}

bool Session::take_message(std::string_view bytes, bool binary)
{
	message_since_ = 0;
	if (state_ != State::open) return true;
	server_.counters().messages_received++;
	const bool taken = server_.guarded([&] {
		if (binary)
			server_.handler().on_binary(*this, bytes);
		else
			server_.handler().on_message(*this, bytes);
	});
	if (!taken) fail(CloseCode::internal_error, "internal error");
	return !broken_;
}

bool Session::take_ping(std::string_view payload)
{
	if (state_ != State::open && state_ != State::draining) return true;
	append_control(control_, kPong, payload);
	server_.make_ready(*this);
	return true;
}

bool Session::take_pong()
{
	unanswered_since_ = 0;
	return true;
}

bool Session::take_close(uint16_t code)
{
	// It answers the server's own close frame, or is echoed behind the answers to the messages before it.
	peer_closed_ = true;
	begin_close(static_cast<CloseCode>(code), {}, true);
	server_.make_ready(*this);
	return false;
}

void Session::fail(CloseCode code, std::string_view reason) noexcept
{
	broken_ = true;
	begin_close(code, reason, false);
	server_.make_ready(*this);
}

void Session::stop(CloseCode code, std::string_view reason) noexcept
{
	if (state_ == State::head) {
		http_->input.clear();
		deadline_ = 0;
	}
	if (state_ == State::responding) http_->last = true;
	begin_close(code, reason, false);
	server_.hurry_deadlines();
}

void Session::begin_close(CloseCode code, std::string_view reason, bool drain) noexcept
{
	if (state_ != State::open && state_ != State::draining) return;
	if (state_ == State::open) {
		deadline_ = server_.now() + kDrainMs;
		try {
			close_frame_ = close_frame(static_cast<uint16_t>(code), reason);
		} catch (const std::exception&) {
			close_frame_.clear();  // out of memory: the client is cut without a word
		}
	}
	state_ = drain ? State::draining : State::closing;
	progress_at_ = server_.now();
	server_.hurry_deadlines();
	server_.make_ready(*this);
}

void Session::tell_close() noexcept
{
	if (!opened_ || told_close_) return;
	told_close_ = true;
	server_.websocket_closed();
	server_.counters().closed++;
	server_.handler().on_close(*this);
}

// The face handlers see. Every Connection is a Session.

void Connection::request_write() noexcept
{
	auto& self = static_cast<Session&>(*this);
	self.server_.make_ready(self);
}

void Connection::pause_reading(bool paused) noexcept
{
	auto& self = static_cast<Session&>(*this);
	self.paused_ = paused;
	self.apply_reading();
}

void Connection::close(CloseCode code, std::string_view reason, bool drain) noexcept
{
	auto& self = static_cast<Session&>(*this);
	if (self.state_ == Session::State::draining && drain) return;
	if (code == CloseCode::too_slow && self.state_ == Session::State::open) self.server_.counters().closed_too_slow++;
	const uint64_t progress_at = self.progress_at_;
	self.begin_close(code, reason, drain);
	if (code != CloseCode::try_again_later) return;
	self.hasty_ = true;
	// Who has not read for a while is not waited for at all.
	if (self.blocked_) self.progress_at_ = progress_at;
}

void* Connection::context() const noexcept { return static_cast<const Session&>(*this).context_; }

void Connection::set_context(void* context) noexcept { static_cast<Session&>(*this).context_ = context; }

std::string_view Connection::peer() const noexcept { return static_cast<const Session&>(*this).peer_; }

uint64_t Connection::connected_at_ms() const noexcept { return static_cast<const Session&>(*this).connected_at_; }

uint64_t Connection::bytes_sent() const noexcept { return static_cast<const Session&>(*this).bytes_sent_; }

uint64_t Connection::bytes_received() const noexcept { return static_cast<const Session&>(*this).bytes_received_; }

size_t Connection::memory() const noexcept { return static_cast<const Session&>(*this).memory(); }

}  // namespace plank::net
