// Takes a client's bytes apart into WebSocket messages (RFC 6455 sections 5 and 7.4), incrementally.
// Runs in the worker. Must not write to a socket and must not hold more than one message of at most max_message bytes.
//
// libwebsockets has a parser of its own, which is not used: 4.1.6 accepts unmasked frames, answers only the first of
// several pings in one read, drops the socket without a close code for a control frame with a long length, echoes a
// one-byte close payload, and never sees non-minimal lengths.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/server.hpp"
#include "net/utf8.hpp"

namespace plank::net {

struct Fault {
	CloseCode code;
	const char* reason;
};

class Decoder {
 public:
	// Who takes what was decoded. Each returns false to stop decoding: the rest of the bytes is dropped.
	class Sink {
	 public:
		virtual bool take_message(std::string_view bytes, bool binary) = 0;
		virtual bool take_ping(std::string_view payload) = 0;
		virtual bool take_pong() = 0;
		// The code of a valid close frame, 0 when it has none.
		virtual bool take_close(uint16_t code) = 0;

	 protected:
		~Sink() = default;
	};
	struct Rules {
		size_t max_message;
		bool accept_binary;
	};

	// Unmasks in place. A fault ends the decoder's life: nothing may be fed to it after.
	[[nodiscard]] std::optional<Fault> feed(char* data, size_t length, const Rules& rules, Sink& sink);
	// True between the first byte of a message or frame and the last.
	size_t memory() const noexcept { return message_.capacity() + control_.capacity(); }
	[[nodiscard]] bool unfinished() const noexcept { return in_message_ || in_payload_ || header_length_ > 0; }

 private:
	size_t collect_header(const char* data, size_t length) noexcept;
	std::optional<Fault> begin_frame(const Rules& rules) noexcept;
	std::optional<Fault> take_data(char* data, size_t length, Sink& sink, bool& stopped);
	std::optional<Fault> take_control(char* data, size_t length, Sink& sink, bool& stopped);
	std::optional<Fault> end_control(std::string_view payload, Sink& sink, bool& stopped);

	uint64_t remaining_ = 0;  // payload bytes of the frame still to come
	std::string message_;     // of the message so far, when it did not come in one piece
	std::string control_;     // of the control frame so far, likewise
	uint8_t header_[14];
	uint8_t header_length_ = 0;
	uint8_t mask_[4];
	uint8_t mask_at_ = 0;
	uint8_t opcode_ = 0;
	bool final_ = false;
	bool in_payload_ = false;
	bool in_message_ = false;  // a data frame has begun a message that is not finished
	bool binary_ = false;
	Utf8 utf8_;
};

// Codes a peer may put into a close frame.
[[nodiscard]] bool is_valid_close_code(uint16_t code) noexcept;

}  // namespace plank::net
