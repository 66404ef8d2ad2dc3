// Validates UTF-8 piece by piece, as RFC 3629 defines it: no surrogates, no overlong forms, nothing above U+10FFFF.
// Pure. Must not allocate.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plank::net {

class Utf8 {
 public:
	// False as soon as the bytes seen so far cannot begin a valid text.
	[[nodiscard]] bool feed(std::string_view bytes) noexcept;
	// True when the bytes seen so far are a whole number of characters.
	[[nodiscard]] bool complete() const noexcept { return missing_ == 0; }
	void reset() noexcept { missing_ = 0; }

 private:
	uint8_t missing_ = 0;               // continuation bytes still owed
	uint8_t low_ = 0x80, high_ = 0xBF;  // what the next of them may be
};

[[nodiscard]] inline bool is_utf8(std::string_view bytes) noexcept
{
	Utf8 utf8;
	return utf8.feed(bytes) && utf8.complete();
}

}  // namespace plank::net
