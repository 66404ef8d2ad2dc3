// See decoder.hpp.
#include "net/decoder.hpp"

#include <algorithm>
#include <cstring>

#include "net/framing.hpp"

namespace plank::net {

namespace {

// How long a header is, given its first two bytes: the mask belongs to it.
size_t header_size(const uint8_t* header) noexcept
{
	const uint8_t length = header[1] & 0x7F;
	return 2 + (length == 127 ? 8 : length == 126 ? 2 : 0) + ((header[1] & 0x80) ? 4 : 0);
}

void unmask(char* data, size_t length, const uint8_t* mask, uint8_t& at) noexcept
{
	uint8_t turned[8];
	for (int i = 0; i < 8; i++)
		turned[i] = mask[(at + i) & 3];
	uint64_t key;
	memcpy(&key, turned, 8);
	size_t i = 0;
	for (; i + 8 <= length; i += 8) {
		uint64_t word;
		memcpy(&word, data + i, 8);
		word ^= key;
		memcpy(data + i, &word, 8);
	}
	for (; i < length; i++)
		data[i] = static_cast<char>(static_cast<uint8_t>(data[i]) ^ turned[i & 7]);
	at = static_cast<uint8_t>((at + length) & 3);
}

Fault violation(const char* reason) noexcept { return {CloseCode::protocol_error, reason}; }

}  // namespace

bool is_valid_close_code(uint16_t code) noexcept
{
	if (code >= 3000 && code <= 4999) return true;
	return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

std::optional<Fault> Decoder::feed(char* data, size_t length, const Rules& rules, Sink& sink)
{
	bool stopped = false;
	while (!stopped && (length > 0 || in_payload_)) {
		if (!in_payload_) {
			const size_t used = collect_header(data, length);
			data += used;
			length -= used;
			// The first byte alone is enough to refuse a frame; a peer need not be waited for.
			if (header_length_ >= 1 && (header_[0] & 0x70) != 0) return violation("reserved bits are set");
			if (header_length_ < 2) return std::nullopt;
			if ((header_[1] & 0x80) == 0) return violation("frame is not masked");
			if (header_length_ < header_size(header_)) return std::nullopt;
			if (auto fault = begin_frame(rules)) return fault;
		}
		const size_t take = static_cast<size_t>(std::min<uint64_t>(length, remaining_));
		if (take == 0 && remaining_ > 0) return std::nullopt;
		unmask(data, take, mask_, mask_at_);
		remaining_ -= take;
		auto fault = (opcode_ & 8) ? take_control(data, take, sink, stopped) : take_data(data, take, sink, stopped);
		if (fault) return fault;
		data += take;
		length -= take;
	}
	return std::nullopt;
}

size_t Decoder::collect_header(const char* data, size_t length) noexcept
{
	size_t used = 0;
	while (used < length && (header_length_ < 2 || header_length_ < header_size(header_)))
		header_[header_length_++] = static_cast<uint8_t>(data[used++]);
	return used;
}

std::optional<Fault> Decoder::begin_frame(const Rules& rules) noexcept
{
	const uint8_t opcode = header_[0] & 0x0F;
	const uint8_t short_length = header_[1] & 0x7F;
	const size_t extended = short_length == 127 ? 8 : short_length == 126 ? 2 : 0;
	uint64_t length = extended ? 0 : short_length;
	for (size_t i = 0; i < extended; i++)
		length = length << 8 | header_[2 + i];
	memcpy(mask_, header_ + 2 + extended, 4);
	mask_at_ = 0;
	final_ = (header_[0] & 0x80) != 0;
	opcode_ = opcode;
	remaining_ = length;
	header_length_ = 0;
	in_payload_ = true;

	if (opcode & 8) {
		if (opcode > kPong) return violation("unknown opcode");
		if (!final_) return violation("control frame is fragmented");
		if (short_length > kMaxControlPayload) return violation("control frame is longer than 125 bytes");
		return std::nullopt;
	}
	if (opcode > kBinary) return violation("unknown opcode");
	if (extended == 8 && (length >> 63) != 0) return violation("frame length has its highest bit set");
	if ((extended == 2 && length < 126) || (extended == 8 && length < 65536))
		return violation("frame length is not in its shortest form");
	if (opcode == kContinuation) {
		if (!in_message_) return violation("continuation without a message");
	} else {
		if (in_message_) return violation("message begins inside another");
		in_message_ = true;
		binary_ = opcode == kBinary;
		utf8_.reset();
		if (binary_ && !rules.accept_binary)
			return Fault{CloseCode::unsupported_data, "binary messages are not supported"};
	}
	// Counted before anything is kept, so that memory never exceeds the limit.
	if (length > rules.max_message || message_.size() > rules.max_message - length)
		return Fault{CloseCode::too_big, "message is too big"};
	return std::nullopt;
}

std::optional<Fault> Decoder::take_data(char* data, size_t length, Sink& sink, bool& stopped)
{
	const Fault bad_text{CloseCode::invalid_payload, "text is not valid UTF-8"};
	if (!binary_ && !utf8_.feed({data, length})) return bad_text;
	if (remaining_ > 0) {
		message_.append(data, length);
		return std::nullopt;
	}
	in_payload_ = false;
	if (!final_) {
		message_.append(data, length);
		return std::nullopt;
	}
	if (!binary_ && !utf8_.complete()) return bad_text;
	in_message_ = false;
	if (message_.empty()) {
		stopped = !sink.take_message({data, length}, binary_);
		return std::nullopt;
	}
	std::string whole = std::move(message_);
	message_ = {};
	whole.append(data, length);
	stopped = !sink.take_message(whole, binary_);
	return std::nullopt;
}

std::optional<Fault> Decoder::take_control(char* data, size_t length, Sink& sink, bool& stopped)
{
	if (remaining_ > 0) {
		control_.append(data, length);
		return std::nullopt;
	}
	in_payload_ = false;
	if (control_.empty()) return end_control({data, length}, sink, stopped);
	std::string whole = std::move(control_);
	control_ = {};
	whole.append(data, length);
	return end_control(whole, sink, stopped);
}

std::optional<Fault> Decoder::end_control(std::string_view payload, Sink& sink, bool& stopped)
{
	if (opcode_ == kPing) {
		stopped = !sink.take_ping(payload);
	} else if (opcode_ == kPong) {
		stopped = !sink.take_pong();
	} else {
		uint16_t code = 0;
		if (payload.size() == 1) return violation("close frame has half a code");
		if (payload.size() >= 2) {
			code = static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]));
			if (!is_valid_close_code(code)) return violation("close frame has an invalid code");
			if (!is_utf8(payload.substr(2)))
				return Fault{CloseCode::invalid_payload, "close reason is not valid UTF-8"};
		}
		stopped = !sink.take_close(code);
	}
	return std::nullopt;
}

}  // namespace plank::net
