// The client's side of RFC 6455, as small as a load client needs it: the upgrade, masked frames out, unmasked frames
// in. Payload is handed on in the pieces in which it arrives, so no frame is ever held in memory.
// Runs in the client thread of plank-load.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace plank::bench {

enum class Opcode : uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

// The GET request for an upgrade; `protocol` may be empty.
std::string upgrade_request(std::string_view host, std::string_view path, std::string_view protocol);

// Checks the head of the answer (all up to and with the empty line): 101, the right accept key, no extension. Throws
// what is wrong.
void check_upgrade(std::string_view head);

// A whole masked frame.
std::string masked_frame(Opcode opcode, std::string_view payload);

// Takes a connection's bytes in any pieces. The handler has
//   payload(string_view)          a piece of the current text message
//   message_end()                 the message is complete
//   control(Opcode, string_view)  a whole control frame
class FrameParser {
 public:
	template <class Handler>
	void feed(std::string_view bytes, Handler&& handler)
	{
		while (!bytes.empty()) {
			if (remaining_ == 0 && !read_header(bytes)) return;
			const auto size = static_cast<size_t>(std::min<uint64_t>(remaining_, bytes.size()));
			const std::string_view piece = bytes.substr(0, size);
			bytes.remove_prefix(size);
			remaining_ -= size;
			if (is_control()) {
				std::memcpy(header_.data() + kControlAt + control_size_, piece.data(), size);
				control_size_ += static_cast<uint8_t>(size);
			} else if (size > 0) {
				handler.payload(piece);
			}
			if (remaining_ > 0) return;
			header_size_ = 0;
			if (is_control())
				handler.control(opcode_, std::string_view(header_.data() + kControlAt, control_size_));
			else if (fin_)
				handler.message_end();
		}
	}

 private:
	static constexpr size_t kControlAt = 10;

	bool is_control() const noexcept { return static_cast<uint8_t>(opcode_) >= 8; }

	// Moves header bytes over; true when the header is complete (its payload may be empty).
	bool read_header(std::string_view& bytes);

	std::array<char, kControlAt + 125> header_;
	uint64_t remaining_ = 0;
	uint8_t header_size_ = 0;
	uint8_t control_size_ = 0;
	Opcode opcode_ = Opcode::text;
	bool fin_ = true;
	bool in_message_ = false;
};

}  // namespace plank::bench
