#include "websocket.hpp"

#include <algorithm>

namespace plank::bench {

namespace {

// The key of RFC 6455 section 1.3. Its answer is known, so it can be checked without SHA-1.
constexpr std::string_view kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
constexpr std::array<char, 4> kMask = {'\x5a', '\x11', '\x7e', '\x33'};

std::string lower(std::string_view text)
{
	std::string result(text);
	for (char& c : result)
		if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
	return result;
}

}  // namespace

std::string upgrade_request(std::string_view host, std::string_view path, std::string_view protocol)
{
	std::string request;
	request.append("GET ").append(path).append(" HTTP/1.1\r\nHost: ").append(host);
	request.append("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
	request.append(kKey);
	if (!protocol.empty()) request.append("\r\nSec-WebSocket-Protocol: ").append(protocol);
	return request.append("\r\n\r\n");
}

void check_upgrade(std::string_view head)
{
	if (!head.starts_with("HTTP/1.1 101"))
		throw std::runtime_error("upgrade refused: " + std::string(head.substr(0, head.find('\r'))));
	if (head.find(kAccept) == std::string_view::npos)
		throw std::runtime_error("upgrade answered with a wrong accept key");
	if (lower(head).find("sec-websocket-extensions:") != std::string::npos)
		throw std::runtime_error("upgrade answered with an extension that was not offered");
}

std::string masked_frame(Opcode opcode, std::string_view payload)
{
	std::string frame;
	frame += static_cast<char>(0x80 | static_cast<uint8_t>(opcode));
	if (payload.size() < 126) {
		frame += static_cast<char>(0x80 | payload.size());
	} else if (payload.size() <= 0xffff) {
		frame += static_cast<char>(0x80 | 126);
		frame += static_cast<char>(payload.size() >> 8);
		frame += static_cast<char>(payload.size() & 0xff);
	} else {
		throw std::runtime_error("the load client sends no message above 64 kB");
	}
	frame.append(kMask.data(), kMask.size());
	for (size_t i = 0; i < payload.size(); ++i)
		frame += static_cast<char>(payload[i] ^ kMask[i % kMask.size()]);
	return frame;
}

bool FrameParser::read_header(std::string_view& bytes)
{
	const auto take = [&](size_t wanted) {
		const size_t size = std::min(wanted - std::min<size_t>(wanted, header_size_), bytes.size());
		std::memcpy(header_.data() + header_size_, bytes.data(), size);
		header_size_ += static_cast<uint8_t>(size);
		bytes.remove_prefix(size);
		return header_size_ >= wanted;
	};
	const auto byte = [&](size_t i) { return static_cast<uint8_t>(header_[i]); };

	if (!take(2)) return false;
	if ((byte(0) & 0x70) != 0 || (byte(1) & 0x80) != 0)
		throw std::runtime_error("frame with reserved bits or a mask from the server");
	uint64_t length = byte(1);
	if (length >= 126) {
		const size_t extra = length == 126 ? 2 : 8;
		if (!take(2 + extra)) return false;
		length = 0;
		for (size_t i = 0; i < extra; ++i)
			length = length << 8 | byte(2 + i);
	}

	opcode_ = static_cast<Opcode>(byte(0) & 0x0f);
	fin_ = (byte(0) & 0x80) != 0;
	remaining_ = length;
	if (is_control()) {
		if (!fin_ || length > 125) throw std::runtime_error("control frame that is fragmented or too long");
		control_size_ = 0;
	} else {
		if ((opcode_ == Opcode::continuation) != in_message_) throw std::runtime_error("fragments out of order");
		if (opcode_ != Opcode::text && opcode_ != Opcode::continuation)
			throw std::runtime_error("frame that is not text");
		in_message_ = !fin_;
	}
	return true;
}

}  // namespace plank::bench
