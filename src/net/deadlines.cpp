// Everything that is decided by the clock, which is monotonic. One timer of the server looks at all sessions; none has
// a timer of its own. libwebsockets' timeouts are not used: a raw connection has none.
// Runs in the worker. Must stay cheap: it sees every connection.
#include <libwebsockets.h>

#include <algorithm>
#include <random>

#include "net/framing.hpp"
#include "net/server_core.hpp"
#include "net/session.hpp"
#include "net/socket.hpp"

namespace plank::net {

namespace {

constexpr uint64_t kFarewellMs = 2000;
constexpr uint64_t kHastyFarewellMs = 1000;  // the server itself stops
constexpr uint64_t kReadingMs = 500;         // who takes nothing for so long does not read

uint64_t spread(uint64_t interval)
{
	static std::minstd_rand random{std::random_device{}()};
	return interval / 2 + random() % (interval / 2 + 1);
}

}  // namespace

bool Session::check_deadlines(uint64_t now)
{
	const Limits& limits = server_.limits();
	switch (state_) {
		case State::head:
			if (now < deadline_) return true;
			if (http_->input.empty()) return false;
			refuse(408, "the request was not complete in time");
			return true;
		case State::responding:
			if (progressed()) progress_at_ = now;
			return now < progress_at_ + static_cast<uint64_t>(limits.message_timeout_ms);
		case State::open:
		case State::draining:
			return check_open(now);
		case State::closing: {
			if (close_sent_ && !blocked_) return now < deadline_;
			// The close frame waits behind what the client has not taken yet.
			if (blocked_ && progressed()) progress_at_ = now;
			const uint64_t patience = server_.stopping() ? kHastyFarewellMs
			                          : hasty_           ? kReadingMs
			                                             : std::max<uint64_t>(kFarewellMs, limits.send_timeout_ms);
			return now < progress_at_ + patience;
		}
		case State::lingering:
			return now < deadline_;
	}
	return true;
}

bool Session::check_open(uint64_t now)
{
	const Limits& limits = server_.limits();
	if (state_ == State::draining && (broken_ || peer_closed_) && now >= deadline_) {
		begin_close(CloseCode::normal, {}, false);
		return true;
	}
	if (blocked_) {
		if (progressed()) progress_at_ = now;
		const bool stuck = now >= progress_at_ + static_cast<uint64_t>(limits.send_timeout_ms);
		const size_t waiting = out_.size() + control_.size() + server_.handler().waiting(*this);
		if (stuck && (waiting > limits.send_buffer || state_ == State::draining)) {
			server_.counters().closed_too_slow++;
			const bool draining = state_ == State::draining;
			begin_close(CloseCode::too_slow, "too slow", false);
			// What it was closed for stands; only the waiting ends.
			return !draining;
		}
	}
	if (state_ == State::draining) return true;
	if (!reading_ && message_since_ != 0) message_since_ = now;
	if (message_since_ != 0 && now >= message_since_ + static_cast<uint64_t>(limits.message_timeout_ms)) {
		fail(CloseCode::policy_violation, "a message was not complete in time");
		return true;
	}
	check_ping(now);
	return true;
}

void Session::check_ping(uint64_t now)
{
	const auto interval = static_cast<uint64_t>(server_.limits().ping_interval_ms);
	if (interval == 0) return;
	if (ping_due_ == 0) schedule_ping(now, true);
	// A slow client's pong waits behind what it still has to take: taking bytes is a sign of life as good.
	const uint64_t alive_at = blocked_ ? std::max(unanswered_since_, progress_at_) : unanswered_since_;
	if (unanswered_since_ != 0 && !(paused_ && !blocked_) && now >= alive_at + 2 * interval) {
		server_.counters().closed_ping_timeout++;
		begin_close(CloseCode::ping_timeout, "pings were not answered", false);
		return;
	}
	if (now < ping_due_) return;
	schedule_ping(now, false);
	// One ping at a time waits in the queue, however long the client is blocked.
	if (unanswered_since_ == 0 || control_.empty()) append_control(control_, kPing, {});
	if (unanswered_since_ == 0) unanswered_since_ = now;
	server_.make_ready(*this);
}

// The first one comes at a random moment, so that clients that came together are not pinged together.
void Session::schedule_ping(uint64_t now, bool first) noexcept
{
	const auto interval = static_cast<uint64_t>(server_.limits().ping_interval_ms);
	ping_due_ = interval == 0 ? 0 : now + (first ? spread(interval) : interval);
}

// Whether the client has taken a byte since the last call.
bool Session::progressed() noexcept
{
	if (!wsi_) return false;
	const uint64_t mark = progress_of(lws_get_socket_fd(wsi_), bytes_sent_);
	const bool moved = mark != progress_mark_;
	progress_mark_ = mark;
	return moved;
}

}  // namespace plank::net
