// Numbers and strings in Plank's own byte streams. No stream ever holds a zero byte, because NOTIFY payloads are C
// strings. Runs in every process. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstdint>
#include <string>
#include <string_view>

namespace plank::core {

constexpr int kMaxVarint = 10;

// LEB128 of value + 1: the last byte of a number above zero is never zero, and all others have their high bit set.
inline int put_varint(char* out, uint64_t value) noexcept
{
	uint64_t rest = value + 1;
	int length = 0;
	while (rest >= 0x80) {
		out[length++] = static_cast<char>(rest | 0x80);
		rest >>= 7;
	}
	out[length++] = static_cast<char>(rest);
	return length;
}

// How many bytes put_varint writes.
constexpr uint64_t varint_size(uint64_t value) noexcept
{
	uint64_t length = 1;
	for (uint64_t rest = value + 1; rest >= 0x80; rest >>= 7)
		++length;
	return length;
}

inline void append_varint(std::string& out, uint64_t value)
{
	char buffer[kMaxVarint];
	out.append(buffer, static_cast<size_t>(put_varint(buffer, value)));
}

inline void append_counted(std::string& out, std::string_view text)
{
	append_varint(out, text.size());
	out.append(text);
}

// Reads such a stream; after the first fault `ok()` is false and everything read is empty or zero.
class Reader {
 public:
	explicit Reader(std::string_view bytes) noexcept : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

	bool ok() const noexcept { return ok_; }
	bool done() const noexcept { return at_ == end_; }
	const char* at() const noexcept { return at_; }
	std::string_view rest() const noexcept { return {at_, static_cast<size_t>(end_ - at_)}; }

	uint64_t varint() noexcept
	{
		// Most lengths are short.
		if (at_ != end_ && static_cast<uint8_t>(*at_) - 1u < 0x7f) return static_cast<uint8_t>(*at_++) - 1u;
		uint64_t value = 0;
		for (int shift = 0; at_ != end_ && shift < 64; shift += 7) {
			const auto byte = static_cast<uint8_t>(*at_++);
			value |= static_cast<uint64_t>(byte & 0x7f) << shift;
			if (byte < 0x80) {
				if (value == 0) break;
				return value - 1;
			}
		}
		fail();
		return 0;
	}
	char byte() noexcept
	{
		if (at_ == end_) {
			fail();
			return 0;
		}
		return *at_++;
	}
	std::string_view bytes(uint64_t length) noexcept
	{
		if (length > static_cast<uint64_t>(end_ - at_)) {
			fail();
			return {};
		}
		std::string_view result(at_, length);
		at_ += length;
		return result;
	}
	std::string_view counted() noexcept { return bytes(varint()); }
	void fail() noexcept
	{
		ok_ = false;
		at_ = end_;
	}

 private:
	const char* at_;
	const char* end_;
	bool ok_ = true;
};

}  // namespace plank::core
