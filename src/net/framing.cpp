// See framing.hpp.
#include "net/framing.hpp"

#include <utility>

namespace plank::net {

size_t encode_header(char* end, uint8_t opcode, size_t length) noexcept
{
	auto* last = reinterpret_cast<unsigned char*>(end);
	unsigned char* first;
	if (length < 126) {
		first = last - 2;
		first[1] = static_cast<unsigned char>(length);
	} else if (length < 65536) {
		first = last - 4;
		first[1] = 126;
		first[2] = static_cast<unsigned char>(length >> 8);
		first[3] = static_cast<unsigned char>(length);
	} else {
		first = last - 10;
		first[1] = 127;
		for (int i = 0; i < 8; i++)
			first[2 + i] = static_cast<unsigned char>(static_cast<uint64_t>(length) >> (56 - 8 * i));
	}
	first[0] = static_cast<unsigned char>(0x80 | opcode);
	return static_cast<size_t>(last - first);
}

void append_control(std::string& out, uint8_t opcode, std::string_view payload)
{
	out += static_cast<char>(0x80 | opcode);
	out += static_cast<char>(payload.size());
	out += payload;
}

std::string_view wire_of(const Frame& frame) noexcept
{
	std::string& buffer = frame.buffer();
	const size_t header =
	    encode_header(buffer.data() + Frame::kHeadroom, frame.binary() ? kBinary : kText, frame.size());
	return std::string_view(buffer).substr(Frame::kHeadroom - header);
}

}  // namespace plank::net
