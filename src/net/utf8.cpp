// See utf8.hpp. Pure.
#include "net/utf8.hpp"

#include <cstring>

namespace plank::net {

bool Utf8::feed(std::string_view bytes) noexcept
{
	const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
	const auto* const end = at + bytes.size();
	while (at < end) {
		const unsigned char c = *at;
		if (missing_ > 0) {
			if (c < low_ || c > high_) return false;
			missing_--;
			low_ = 0x80;
			high_ = 0xBF;
			at++;
			continue;
		}
		if (c < 0x80) {
			uint64_t word;
			while (end - at >= 8 && (memcpy(&word, at, 8), (word & 0x8080808080808080ull) == 0))
				at += 8;
			while (at < end && *at < 0x80)
				at++;
			continue;
		}
		if (c >= 0xC2 && c <= 0xDF) {
			missing_ = 1;
		} else if (c >= 0xE0 && c <= 0xEF) {
			missing_ = 2;
			if (c == 0xE0) low_ = 0xA0;
			if (c == 0xED) high_ = 0x9F;
		} else if (c >= 0xF0 && c <= 0xF4) {
			missing_ = 3;
			if (c == 0xF0) low_ = 0x90;
			if (c == 0xF4) high_ = 0x8F;
		} else {
			return false;
		}
		at++;
	}
	return true;
}

}  // namespace plank::net
