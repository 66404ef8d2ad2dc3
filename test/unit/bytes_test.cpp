// Numbers and strings in Plank's own byte streams.
#include "core/bytes.hpp"

#include <gtest/gtest.h>

#include <random>

namespace plank::core {
namespace {

std::string varint(uint64_t value)
{
	std::string out;
	append_varint(out, value);
	return out;
}

std::vector<uint64_t> interesting()
{
	std::vector<uint64_t> values = {0, 1, UINT64_MAX - 1, UINT64_MAX - 2};
	for (int bit = 1; bit < 64; ++bit)
		for (int delta = -2; delta <= 1; ++delta)
			values.push_back((uint64_t{1} << bit) + static_cast<uint64_t>(delta));
	return values;
}

TEST(Varint, ReadsBackWhatWasWrittenAndHoldsNoZeroByte)
{
	for (const uint64_t value : interesting()) {
		const std::string bytes = varint(value);
		EXPECT_LE(bytes.size(), size_t{kMaxVarint});
		EXPECT_EQ(bytes.find('\0'), std::string::npos) << value;
		Reader reader(bytes);
		EXPECT_EQ(reader.varint(), value);
		EXPECT_TRUE(reader.ok() && reader.done()) << value;
	}
}

TEST(Varint, FaultsWhenItIsCutShort)
{
	for (const uint64_t value : interesting()) {
		const std::string bytes = varint(value);
		for (size_t length = 0; length < bytes.size(); ++length) {
			Reader reader(std::string_view(bytes).substr(0, length));
			EXPECT_EQ(reader.varint(), 0u);
			EXPECT_FALSE(reader.ok());
			EXPECT_TRUE(reader.done());
		}
	}
}

TEST(Varint, FaultsOnZeroAndOnMoreThan64Bits)
{
	for (const std::string& bytes :
	     {std::string(1, '\0'), std::string("\x80\0", 2), std::string(10, '\x80') + '\x01'}) {
		Reader reader(bytes);
		EXPECT_EQ(reader.varint(), 0u);
		EXPECT_FALSE(reader.ok());
	}
}

TEST(Reader, GivesNothingMoreAfterAFault)
{
	const std::string bytes = varint(200) + "short";
	Reader reader(bytes);
	EXPECT_EQ(reader.counted(), "");
	EXPECT_FALSE(reader.ok());
	EXPECT_EQ(reader.byte(), 0);
	EXPECT_EQ(reader.rest(), "");
	EXPECT_EQ(reader.varint(), 0u);
}

TEST(Reader, CountedStringsMayHoldAnything)
{
	std::string out;
	append_counted(out, std::string_view("\0\xff", 2));
	append_counted(out, "");
	append_counted(out, std::string(300, 'x'));
	Reader reader(out);
	EXPECT_EQ(reader.counted(), std::string_view("\0\xff", 2));
	EXPECT_EQ(reader.counted(), "");
	EXPECT_EQ(reader.counted(), std::string(300, 'x'));
	EXPECT_TRUE(reader.ok() && reader.done());
}

}  // namespace
}  // namespace plank::core
