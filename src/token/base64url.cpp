// See base64url.hpp.
#include "token/base64url.hpp"

#include <array>
#include <cstdint>

namespace plank::token {

namespace {

constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<int8_t, 256> make_values()
{
	std::array<int8_t, 256> values{};
	values.fill(-1);
	for (int8_t i = 0; i < 64; ++i)
		values[static_cast<unsigned char>(kLetters[i])] = i;
	return values;
}
constexpr std::array<int8_t, 256> kValues = make_values();

}  // namespace

std::optional<std::string> decode_base64url(std::string_view text)
{
	if (text.size() % 4 == 1) return std::nullopt;
	std::string bytes;
	bytes.reserve(text.size() / 4 * 3 + 2);
	uint32_t bits = 0;
	int held = 0;
	for (const char letter : text) {
		const int8_t value = kValues[static_cast<unsigned char>(letter)];
		if (value < 0) return std::nullopt;
		bits = bits << 6 | static_cast<uint32_t>(value);
		held += 6;
		if (held < 8) continue;
		held -= 8;
		bytes += static_cast<char>(bits >> held & 0xFF);
	}
	// What the last letter says beyond the last byte must be nothing.
	if ((bits & ((1u << held) - 1)) != 0) return std::nullopt;
	return bytes;
}

std::string encode_base64url(std::string_view bytes)
{
	std::string text;
	text.reserve((bytes.size() * 4 + 2) / 3);
	uint32_t bits = 0;
	int held = 0;
	for (const char byte : bytes) {
		bits = bits << 8 | static_cast<unsigned char>(byte);
		held += 8;
		while (held >= 6) {
			held -= 6;
			text += kLetters[bits >> held & 0x3F];
		}
	}
	if (held > 0) text += kLetters[bits << (6 - held) & 0x3F];
	return text;
}

}  // namespace plank::token
