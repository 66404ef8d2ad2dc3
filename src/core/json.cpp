// Writing JSON text. Runs in every process. Must not call PostgreSQL.
#include "core/json.hpp"

#include <cstdio>

namespace plank::core {

void append_json_string(std::string& out, std::string_view text)
{
	static constexpr char kHex[] = "0123456789abcdef";
	out += '"';
	size_t copied = 0;
	for (size_t i = 0; i < text.size(); ++i) {
		const auto byte = static_cast<uint8_t>(text[i]);
		if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
		out.append(text, copied, i - copied);
		copied = i + 1;
		switch (byte) {
			case '"':
				out += "\\\"";
				break;
			case '\\':
				out += "\\\\";
				break;
			case '\b':
				out += "\\b";
				break;
			case '\f':
				out += "\\f";
				break;
			case '\n':
				out += "\\n";
				break;
			case '\r':
				out += "\\r";
				break;
			case '\t':
				out += "\\t";
				break;
			default:
				out += "\\u00";
				out += kHex[byte >> 4];
				out += kHex[byte & 15];
		}
	}
	out.append(text, copied, text.size() - copied);
	out += '"';
}

void append_json_string_or_null(std::string& out, std::string_view text)
{
	if (text.empty())
		out += "null";
	else
		append_json_string(out, text);
}

namespace {

// Length of the well-formed character at the beginning of `text`; 0 when there is none.
size_t character_length(std::string_view text) noexcept
{
	const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
	const auto follows = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
	const uint8_t first = byte(0);
	if (first < 0x80) return text.empty() ? 0 : 1;
	if (first < 0xc2) return 0;
	if (first < 0xe0) return follows(1) ? 2 : 0;
	if (first < 0xf0) {
		if (!follows(1) || !follows(2)) return 0;
		if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0)) return 0;
		return 3;
	}
	if (first >= 0xf5 || !follows(1) || !follows(2) || !follows(3)) return 0;
	if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90)) return 0;
	return 4;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept
{
	while (!text.empty()) {
		const size_t length = character_length(text);
		if (length == 0) return false;
		text.remove_prefix(length);
	}
	return true;
}

void replace_invalid_utf8(std::string& text)
{
	std::string valid;
	std::string_view rest = text;
	while (!rest.empty()) {
		const size_t length = character_length(rest);
		if (length == 0)
			valid += "\xef\xbf\xbd";
		else
			valid.append(rest.substr(0, length));
		rest.remove_prefix(length ? length : 1);
	}
	text = std::move(valid);
}

void append_json_time(std::string& out, int64_t microseconds)
{
	constexpr int64_t kDay = 86400LL * 1000000;
	int64_t days = microseconds / kDay;
	int64_t rest = microseconds % kDay;
	if (rest < 0) {
		rest += kDay;
		--days;
	}
	// Civil date from days, after Howard Hinnant's public-domain algorithm; day 0 here is 2000-01-01.
	const int64_t z = days + 10957 + 719468;
	const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	const auto doe = static_cast<uint64_t>(z - era * 146097);
	const uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	const uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	const uint64_t mp = (5 * doy + 2) / 153;
	const uint64_t day = doy - (153 * mp + 2) / 5 + 1;
	const uint64_t month = mp < 10 ? mp + 3 : mp - 9;
	const int64_t year = static_cast<int64_t>(yoe) + era * 400 + (month <= 2 ? 1 : 0);
	const auto seconds = static_cast<int>(rest / 1000000);
	char buffer[64];
	const int length = std::snprintf(buffer, sizeof buffer, "\"%04lld-%02llu-%02lluT%02d:%02d:%02d.%06dZ\"",
	                                 static_cast<long long>(year), static_cast<unsigned long long>(month),
	                                 static_cast<unsigned long long>(day), seconds / 3600, seconds / 60 % 60,
	                                 seconds % 60, static_cast<int>(rest % 1000000));
	out.append(buffer, static_cast<size_t>(length));
}

}  // namespace plank::core
