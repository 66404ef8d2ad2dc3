// Positions as text: the letter w, then base64url of numbers and a check sum. Runs in the worker. Must not call PostgreSQL.
#include "core/wal_position.hpp"

#include <array>

#include "core/bytes.hpp"

namespace plank::core {

namespace {

constexpr char kFormat = 'w';
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t kLongest = 128;

constexpr std::array<int8_t, 256> reverse_alphabet()
{
	std::array<int8_t, 256> values{};
	values.fill(-1);
	for (size_t i = 0; i < kAlphabet.size(); ++i)
		values[static_cast<uint8_t>(kAlphabet[i])] = static_cast<int8_t>(i);
	return values;
}
constexpr std::array<int8_t, 256> kValues = reverse_alphabet();

void append_base64(std::string& out, std::string_view bytes)
{
	uint32_t bits = 0;
	int count = 0;
	for (const char byte : bytes) {
		bits = bits << 8 | static_cast<uint8_t>(byte);
		for (count += 8; count >= 6; count -= 6)
			out += kAlphabet[bits >> (count - 6) & 63];
	}
	if (count > 0) out += kAlphabet[bits << (6 - count) & 63];
}

bool read_base64(std::string& out, std::string_view text)
{
	uint32_t bits = 0;
	int count = 0;
	for (const char c : text) {
		const int value = kValues[static_cast<uint8_t>(c)];
		if (value < 0) return false;
		bits = bits << 6 | static_cast<uint32_t>(value);
		count += 6;
		if (count >= 8) out += static_cast<char>(bits >> (count -= 8) & 255);
	}
	// One spelling for each position: what is left over is less than a character, and zero.
	return count < 6 && (bits & ((1u << count) - 1)) == 0;
}

// FNV-1a: a position that was cut or mistyped is told from one that is out of date.
uint32_t check_sum(std::string_view bytes) noexcept
{
	uint32_t sum = 2166136261u;
	for (const char byte : bytes)
		sum = (sum ^ static_cast<uint8_t>(byte)) * 16777619u;
	return sum & 0xffff;
}

// Signed numbers near zero stay short.
uint64_t fold(int64_t value) noexcept { return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63); }
int64_t unfold(uint64_t value) noexcept { return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1)); }

void append_word(std::string& out, uint64_t value)
{
	for (int shift = 0; shift < 64; shift += 8)
		out += static_cast<char>(value >> shift);
}

uint64_t read_word(std::string_view bytes) noexcept
{
	uint64_t value = 0;
	for (size_t i = 0; i < bytes.size(); ++i)
		value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
	return value;
}

}  // namespace

std::string WalPosition::text() const
{
	std::string bytes;
	append_word(bytes, system);
	append_varint(bytes, timeline);
	append_varint(bytes, timeline_began);
	append_varint(bytes, end);
	append_varint(bytes, xid);
	append_varint(bytes, fold(time));
	append_varint(bytes, end - restart);
	append_varint(bytes, database);
	append_varint(bytes, check_sum(bytes));
	std::string out(1, kFormat);
	append_base64(out, bytes);
	return out;
}

std::optional<WalPosition> WalPosition::read(std::string_view text)
{
	if (text.empty() || text.front() != kFormat || text.size() > kLongest) return std::nullopt;
	std::string bytes;
	if (!read_base64(bytes, text.substr(1))) return std::nullopt;
	Reader reader(bytes);
	WalPosition position;
	position.system = read_word(reader.bytes(8));
	const uint64_t timeline = reader.varint();
	position.timeline_began = reader.varint();
	position.end = reader.varint();
	const uint64_t xid = reader.varint();
	position.time = unfold(reader.varint());
	const uint64_t distance = reader.varint();
	const uint64_t database = reader.varint();
	const uint32_t sum = check_sum(std::string_view(bytes.data(), static_cast<size_t>(reader.at() - bytes.data())));
	if (reader.varint() != sum || !reader.ok() || !reader.done()) return std::nullopt;
	if (timeline > UINT32_MAX || xid > UINT32_MAX || database > UINT32_MAX || position.end == 0 ||
	    distance > position.end)
		return std::nullopt;
	position.timeline = static_cast<uint32_t>(timeline);
	position.xid = static_cast<uint32_t>(xid);
	position.restart = position.end - distance;
	position.database = static_cast<uint32_t>(database);
	// One spelling for each.
	if (position.text() != text) return std::nullopt;
	return position;
}

}  // namespace plank::core
