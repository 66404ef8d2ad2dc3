// What goes out to one client: at most one piece is in libwebsockets' hands, everything else stays where it is until
// the socket takes bytes.
// Runs in the worker, from the server's flush or a writeable callback. Must not copy a frame.
#include <libwebsockets.h>
#include <sys/socket.h>

#include <algorithm>

#include "net/framing.hpp"
#include "net/server_core.hpp"
#include "net/session.hpp"

namespace plank::net {

namespace {

// libwebsockets copies what the socket does not take of one write: this much of a slow client's frame, no more.
constexpr size_t kPiece = 64 * 1024;
// One client's share of a turn.
constexpr size_t kTurn = 512 * 1024;
// A client that sends pings and takes no pongs is not read from beyond this.
constexpr size_t kMaxControl = 16 * 1024;

constexpr uint64_t kLingerMs = 2000;

}  // namespace

bool Session::flush()
{
	if (!wsi_) return true;
	// What the handler holds for it goes at once, and not when the client has taken what is under way.
	if (state_ == State::closing) tell_close();
	size_t budget = kTurn;
	for (;;) {
		if (lws_partial_buffered(wsi_)) {
			// It asks for the writeable callback by itself.
			set_blocked(true);
			return true;
		}
		const size_t before = bytes_sent_;
		switch (write_next()) {
			case Step::broken:
				return false;
			case Step::idle:
				set_blocked(false);
				return true;
			case Step::wrote:
				break;
		}
		const size_t written = bytes_sent_ - before;
		if (written >= budget) {
			server_.make_ready(*this);
			return true;
		}
		budget -= written;
	}
}

Session::Step Session::write_next()
{
	// Handshakes, tickets and alerts.
	if (tls_ && tls_->has_output()) {
		const std::string records = tls_->take_output();
		return write_wire(records.data(), records.size()) ? Step::wrote : Step::broken;
	}
	if (!out_.empty()) {
		const std::string_view piece = out_.substr(0, kPiece);
		if (!write(piece.data(), piece.size())) return Step::broken;
		out_.remove_prefix(piece.size());
		if (out_.empty()) out_owner_.reset();
		return Step::wrote;
	}
	if (!control_.empty() && (state_ == State::open || state_ == State::draining)) {
		const std::string control = std::move(control_);
		control_ = {};
		return write(control.data(), control.size()) ? Step::wrote : Step::broken;
	}
	switch (state_) {
		case State::head:
			return Step::idle;
		case State::lingering:
			if (!shut_) shutdown(lws_get_socket_fd(wsi_), SHUT_WR);
			shut_ = true;
			return Step::idle;
		case State::responding:
			finish_response();
			return Step::wrote;
		case State::open:
		case State::draining: {
			FramePtr frame;
			if (!server_.guarded([&] { frame = server_.handler().next_frame(*this); })) {
				fail(CloseCode::internal_error, "internal error");
				return Step::wrote;
			}
			if (frame) {
				server_.counters().frames_sent++;
				const std::string_view wire = wire_of(*frame);
				send(std::move(frame), wire);
				return Step::wrote;
			}
			if (state_ == State::draining) state_ = State::closing;
			return state_ == State::open ? Step::idle : Step::wrote;
		}
		case State::closing:
			tell_close();
			if (!close_sent_) {
				close_sent_ = true;
				deadline_ = server_.now() + kLingerMs;
				if (close_frame_.empty()) return Step::broken;
				return write(close_frame_.data(), close_frame_.size()) ? Step::wrote : Step::broken;
			}
			if (!peer_closed_ && !broken_) return Step::idle;
			begin_linger();
			return Step::wrote;
	}
	return Step::idle;
}

bool Session::write(const char* data, size_t length)
{
	if (!tls_) return write_wire(data, length);
	if (!tls_->encrypt(data, length)) return false;
	const std::string records = tls_->take_output();
	return write_wire(records.data(), records.size());
}

// libwebsockets takes all of it: what the socket refuses is its copy to send.
bool Session::write_wire(const char* data, size_t length)
{
	auto* bytes = reinterpret_cast<unsigned char*>(const_cast<char*>(data));  // it does not change them
	if (lws_write(wsi_, bytes, length, LWS_WRITE_RAW) < 0) return false;
	bytes_sent_ += length;
	server_.counters().bytes_sent += length;
	return true;
}

// What libwebsockets has of it and OpenSSL's part are not known, so they are guessed high.
size_t Session::memory() const noexcept
{
	constexpr size_t kSocket = 2 * 1024, kTls = 40 * 1024;
	size_t bytes = sizeof *this + kSocket + peer_.capacity() + control_.capacity() + close_frame_.capacity();
	bytes += decoder_.memory() + (http_ ? sizeof *http_ + http_->input.capacity() : 0) + (tls_ ? kTls : 0);
	if (wsi_ && lws_partial_buffered(wsi_)) bytes += kPiece;
	if (!out_.empty()) bytes += out_size_ / static_cast<size_t>(std::max(out_owner_.use_count(), 1l));
	return bytes;
}

void Session::send(std::shared_ptr<const void> owner, std::string_view bytes) noexcept
{
	out_owner_ = std::move(owner);
	out_ = bytes;
	out_size_ = bytes.size();
}

void Session::set_blocked(bool blocked)
{
	if (blocked && !blocked_) {
		progress_at_ = server_.now();
		(void)progressed();
	}
	blocked_ = blocked;
	apply_reading();
}

// While libwebsockets holds a piece it leaves a readable raw socket unread, and libuv would report it without end: so
// a blocked client is not read from, which is the right back-pressure too.
void Session::apply_reading() noexcept
{
	if (!wsi_) return;
	const bool behind = http_ ? state_ == State::responding && http_->input.size() > kMaxHead
	                          : control_.size() > kMaxControl && state_ != State::closing && state_ != State::lingering;
	const bool read = !blocked_ && !behind && !(paused_ && state_ == State::open);
	if (read == reading_) return;
	reading_ = read;
	// A client that was not read from could not finish its message, nor show its pongs.
	if (read && message_since_ != 0) message_since_ = server_.now();
	if (read && unanswered_since_ != 0) unanswered_since_ = server_.now();
	lws_rx_flow_control(wsi_, read ? 1 : 0);
}

// Closing with unread input would make the kernel send a reset, and the peer might lose what was sent to it last. The write
// side is shut by the next step, behind what TLS has to say.
void Session::begin_linger() noexcept
{
	state_ = State::lingering;
	deadline_ = server_.now() + kLingerMs;
	if (tls_) tls_->say_goodbye();
	apply_reading();
	server_.hurry_deadlines();
}

}  // namespace plank::net
