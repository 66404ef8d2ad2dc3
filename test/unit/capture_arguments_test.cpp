// Arguments of capture triggers: read exactly, and never trusted.
#include "core/capture_arguments.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

using namespace plank::core;
using namespace std::string_view_literals;

namespace {

std::vector<std::string> names_in(std::string_view literal)
{
	std::vector<std::string> names;
	NameList list(literal);
	while (const auto name = list.next())
		names.emplace_back(name->view());
	return names;
}

TEST(NameList, ReadsWhatArraysOfNamesPrint)
{
	EXPECT_EQ(names_in("{}"), std::vector<std::string>{});
	EXPECT_EQ(names_in("{id}"), std::vector<std::string>{"id"});
	EXPECT_EQ(names_in("{id,name}"), (std::vector<std::string>{"id", "name"}));
	EXPECT_EQ(names_in(R"({"My Column","a,b","q\"\\","NULL",ä})"),
	          (std::vector<std::string>{"My Column", "a,b", "q\"\\", "NULL", "ä"}));
	for (const char* literal : {"{}", "{id}", "{a,\"b c\"}"})
		EXPECT_TRUE(is_name_list(literal)) << literal;
}

TEST(NameList, RefusesEverythingElse)
{
	const std::string longest(63, 'x');
	EXPECT_TRUE(is_name_list("{" + longest + "}"));
	EXPECT_FALSE(is_name_list("{" + longest + "x}"));
	EXPECT_FALSE(is_name_list("{\"a\0b\"}"sv));
	for (const char* literal :
	     {"",     "{",    "}",     "{a",   "{a,}",  "{,a}",  "{a,,b}", "{\"\"}",  "{\"a}", "{\"a\"b}",
	      "{a}b", " {a}", "{a b}", "{ a}", "{{a}}", "{a\\}", "{\"a\\", "id,name", "{}{}",  "{}x"})
		EXPECT_FALSE(is_name_list(literal)) << literal;
}

TEST(NameList, Contains)
{
	EXPECT_TRUE(contains("{id,\"a b\"}", "a b"));
	EXPECT_FALSE(contains("{id,\"a b\"}", "a"));
	EXPECT_FALSE(contains("{}", ""));
}

TEST(NameList, GivesBackAnyNamesThatWereQuoted)
{
	const auto seed = std::random_device{}();
	SCOPED_TRACE("seed " + std::to_string(seed));
	std::mt19937 random(seed);
	for (int round = 0; round < 2000; ++round) {
		std::vector<std::string> names(random() % 5);
		std::string literal = "{";
		for (auto& name : names) {
			if (literal.size() > 1) literal += ',';
			literal += '"';
			for (size_t i = 0, length = 1 + random() % 63; i < length; ++i) {
				const char c = static_cast<char>(1 + random() % 255);
				name += c;
				if (c == '"' || c == '\\') literal += '\\';
				literal += c;
			}
			literal += '"';
		}
		literal += '}';
		ASSERT_EQ(names_in(literal), names) << literal;
		ASSERT_TRUE(is_name_list(literal));
		// A piece of it is read or refused, never beyond its end.
		(void)is_name_list(std::string(literal, 0, random() % literal.size()));
	}
}

TEST(CaptureArguments, ReadsThreeArguments)
{
	const auto arguments = read_capture_arguments("leave\0{id}\0pub\0"sv);
	ASSERT_TRUE(arguments);
	EXPECT_EQ(arguments->mode, CaptureMode::leave);
	EXPECT_EQ(arguments->columns, "{id}");
	EXPECT_EQ(arguments->notify, "pub");
	const auto bare = read_capture_arguments("truncate\0\0\0"sv);
	ASSERT_TRUE(bare);
	EXPECT_TRUE(bare->columns.empty());
	EXPECT_TRUE(bare->notify.empty());
	for (int mode = 0; mode < kCaptureModes; ++mode)
		EXPECT_EQ(capture_mode(name_of(static_cast<CaptureMode>(mode))), static_cast<CaptureMode>(mode));
}

TEST(CaptureArguments, RefusesForgedOnes)
{
	for (const auto text :
	     {""sv, "insert"sv, "insert\0"sv, "insert\0\0"sv, "insert\0\0x"sv, "insert\0\0\0\0"sv, "upsert\0\0\0"sv,
	      "\0\0\0"sv, "insert\0{\0\0"sv, "insert\0id\0\0"sv, "insert\0\0plank:x\0"sv, "INSERT\0\0\0"sv})
		EXPECT_FALSE(read_capture_arguments(text)) << text;
}

TEST(Channel, Names)
{
	EXPECT_TRUE(is_channel_name("jobs"));
	EXPECT_TRUE(is_channel_name("plank"));
	EXPECT_TRUE(is_channel_name(std::string(63, 'x')));
	EXPECT_FALSE(is_channel_name(std::string(64, 'x')));
	EXPECT_FALSE(is_channel_name(""));
	EXPECT_FALSE(is_channel_name("plank:"));
	EXPECT_FALSE(is_channel_name("plank:0123"));
}

}  // namespace
