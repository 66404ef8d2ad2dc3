// Positions of the transport wal: what is written is read back, and nothing else is read at all.
#include "core/wal_position.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <random>

using plank::core::WalPosition;

namespace {

WalPosition example()
{
	return {7301234567890123456u, 3, 0x5000028, 0x16B374D848, 731, 788000000123456, 0x16B3700000, 16384};
}

}  // namespace

TEST(WalPosition, IsReadBack)
{
	const WalPosition position = example();
	const auto again = WalPosition::read(position.text());
	ASSERT_TRUE(again);
	EXPECT_EQ(*again, position);
	EXPECT_LT(position.text().size(), 60u);
}

TEST(WalPosition, HoldsTheExtremes)
{
	constexpr uint64_t most = std::numeric_limits<uint64_t>::max() - 1;
	const WalPosition high{std::numeric_limits<uint64_t>::max(),    UINT32_MAX, most, most, UINT32_MAX,
	                       std::numeric_limits<int64_t>::max() / 2, 0};
	const WalPosition low{0, 0, 0, 1, 0, std::numeric_limits<int64_t>::min() / 2, 1};
	for (const WalPosition& position : {high, low}) {
		const auto again = WalPosition::read(position.text());
		ASSERT_TRUE(again);
		EXPECT_EQ(*again, position);
	}
}

TEST(WalPosition, IsTextThatNeedsNoEscape)
{
	std::mt19937_64 random(1);
	for (int i = 0; i < 1000; ++i) {
		WalPosition position{random(),
		                     static_cast<uint32_t>(random()),
		                     random() >> 8,
		                     (random() >> 8) + 1,
		                     static_cast<uint32_t>(random()),
		                     static_cast<int64_t>(random() >> 4),
		                     0};
		position.restart = random() % (position.end + 1);
		const std::string text = position.text();
		EXPECT_EQ(text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
		          std::string::npos);
		const auto again = WalPosition::read(text);
		ASSERT_TRUE(again) << text;
		EXPECT_EQ(*again, position);
	}
}

TEST(WalPosition, RefusesWhatIsNone)
{
	const std::string text = example().text();
	for (const char* other : {"", "w", "x", "0", "5f3a-812", "w====", "wAAAA", "null"})
		EXPECT_FALSE(WalPosition::read(other)) << other;
	EXPECT_FALSE(WalPosition::read(text + "A"));
	EXPECT_FALSE(WalPosition::read(std::string(1000000, 'w')));
	for (size_t length = 0; length < text.size(); ++length)
		EXPECT_FALSE(WalPosition::read(text.substr(0, length))) << length;
}

// A character that differs gives another position at most once in 65,536 times.
TEST(WalPosition, NoticesWrongCharacters)
{
	const std::string text = example().text();
	int accepted = 0;
	for (size_t at = 0; at < text.size(); ++at)
		for (int c = 1; c < 256; ++c) {
			std::string wrong = text;
			wrong[at] = static_cast<char>(c);
			if (wrong != text && WalPosition::read(wrong)) ++accepted;
		}
	EXPECT_LE(accepted, 2);
}
