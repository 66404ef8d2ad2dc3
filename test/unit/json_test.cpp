// Strings, UTF-8 and times as JSON.
#include "core/json.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "records.hpp"

namespace plank::core {
namespace {

std::string json_of(std::string_view text)
{
	std::string out;
	append_json_string(out, text);
	return out;
}

std::string time_text(int64_t microseconds)
{
	std::string out;
	append_json_time(out, microseconds);
	return out;
}

TEST(JsonString, EscapesWhatJsonForbidsAndNothingElse)
{
	EXPECT_EQ(json_of(""), "\"\"");
	EXPECT_EQ(json_of("a\"b\\c/"), "\"a\\\"b\\\\c/\"");
	EXPECT_EQ(json_of("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
	EXPECT_EQ(json_of(std::string_view("\0\x01\x1f\x7f", 4)), "\"\\u0000\\u0001\\u001f\x7f\"");
	EXPECT_EQ(json_of("Gr\u00fc\u00dfe \U0001F600"), "\"Gr\u00fc\u00dfe \U0001F600\"");
}

TEST(JsonString, EveryByteBelow128ReadsBackAsItself)
{
	for (char c = 1; c < 127; ++c) {
		const std::string text{'x', c, c, 'y'};
		const test::Json value = test::parse(json_of(text));
		ASSERT_TRUE(value) << int{c};
		EXPECT_EQ(json_string_value(value.get()), text);
	}
}

TEST(JsonString, AppendsToWhatIsThere)
{
	std::string out = "x";
	append_json_string_or_null(out, "");
	append_json_string_or_null(out, "a");
	EXPECT_EQ(out, "xnull\"a\"");
}

TEST(Utf8, TakesTheFirstAndLastCharacterOfEachLength)
{
	for (const char* text :
	     {"", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"})
		EXPECT_TRUE(is_utf8(text)) << text;
}

TEST(Utf8, RefusesWhatIsNoCharacter)
{
	for (const char* text : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf", "\xe1\x80",
	                         "\xe1\x80\x41", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf1\x80\x80",
	                         "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xff"})
		EXPECT_FALSE(is_utf8(text)) << json_of(text);
}

TEST(Utf8, RefusesATruncatedCharacterAtEveryPlace)
{
	const std::string whole = "a\u00e9\u20ac\U0001F600";
	for (size_t length = 0; length <= whole.size(); ++length) {
		const bool at_boundary = length == whole.size() || (static_cast<unsigned char>(whole[length]) & 0xc0) != 0x80;
		EXPECT_EQ(is_utf8(std::string_view(whole).substr(0, length)), at_boundary) << length;
	}
}

TEST(JsonTime, KnownMoments)
{
	EXPECT_EQ(time_text(0), "\"2000-01-01T00:00:00.000000Z\"");
	EXPECT_EQ(time_text(-1), "\"1999-12-31T23:59:59.999999Z\"");
	EXPECT_EQ(time_text(1), "\"2000-01-01T00:00:00.000001Z\"");
	EXPECT_EQ(time_text(59LL * 86400 * 1000000), "\"2000-02-29T00:00:00.000000Z\"");
	EXPECT_EQ(time_text(60LL * 86400 * 1000000 - 1), "\"2000-02-29T23:59:59.999999Z\"");
	EXPECT_EQ(time_text(848'671'500'123'456), "\"2026-11-22T14:05:00.123456Z\"");
}

TEST(JsonTime, AgreesWithTheStandardLibraryFromYear1To9999)
{
	using namespace std::chrono;
	const uint32_t seed = std::random_device{}();
	SCOPED_TRACE("seed " + std::to_string(seed));
	std::mt19937_64 random(seed);
	const sys_days epoch = year{2000} / January / 1;
	const int64_t from = duration_cast<microseconds>(sys_days(year{1} / January / 1) - epoch).count();
	const int64_t to = duration_cast<microseconds>(sys_days(year{10000} / January / 1) - epoch).count() - 1;
	for (int i = 0; i < 20000; ++i) {
		const int64_t moment = std::uniform_int_distribution<int64_t>(from, to)(random);
		const auto time = epoch + microseconds(moment);
		const year_month_day date(floor<days>(time));
		const hh_mm_ss clock(time - floor<days>(time));
		char expected[64];
		snprintf(expected, sizeof expected, "\"%04d-%02u-%02uT%02d:%02d:%02d.%06dZ\"", static_cast<int>(date.year()),
		         static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
		         static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
		         static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
		ASSERT_EQ(time_text(moment), expected) << moment;
	}
}

}  // namespace
}  // namespace plank::core
