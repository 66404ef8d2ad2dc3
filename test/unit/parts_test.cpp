// Numbered NOTIFY payloads: put together whole, or the loss is noticed.
#include "core/parts.hpp"

#include <gtest/gtest.h>

#include <random>

namespace plank::core {
namespace {

using Result = PartAssembler::Result;
constexpr uint64_t kLimit = 1 << 20;

std::string part(uint64_t xid, uint64_t number, bool last, std::string_view bytes, uint64_t total, int64_t at = 5)
{
	char header[kMaxPartHeader];
	const int length = put_part_header(header, xid, number, last, at, total);
	return std::string(header, static_cast<size_t>(length)).append(bytes);
}

std::vector<std::string> parts(uint64_t xid, std::string_view body, size_t size)
{
	std::vector<std::string> all;
	for (size_t at = 0; at < body.size() || all.empty(); at += size) {
		const bool last = at + size >= body.size();
		all.push_back(part(xid, all.size(), last, body.substr(at, size), body.size()));
	}
	return all;
}

TEST(PartHeader, FitsAndHoldsNoZeroByteWhateverItSays)
{
	char header[kMaxPartHeader];
	const int length = put_part_header(header, UINT64_MAX - 1, UINT64_MAX - 1, true, INT64_MAX, UINT64_MAX - 1);
	EXPECT_LE(static_cast<size_t>(length), kMaxPartHeader);
	const int first = put_part_header(header, UINT64_MAX - 1, 0, false, -5, UINT64_MAX - 1);
	EXPECT_LE(static_cast<size_t>(first), kMaxPartHeader);
	EXPECT_EQ(std::string_view(header, static_cast<size_t>(first)).find('\0'), std::string_view::npos);
}

TEST(PartAssembler, OnePartIsATransaction)
{
	PartAssembler assembler(kLimit);
	ASSERT_EQ(assembler.add(part(812, 0, true, "body", 4, 77)), Result::complete);
	const PartAssembler::Whole transaction = assembler.take();
	EXPECT_EQ(transaction.xid, 812u);
	EXPECT_EQ(transaction.committed_at, 77);
	EXPECT_EQ(transaction.body, "body");
}

TEST(PartAssembler, ManyTransactionsInManyPartsArriveWhole)
{
	const uint32_t seed = std::random_device{}();
	SCOPED_TRACE("seed " + std::to_string(seed));
	std::mt19937 random(seed);
	PartAssembler assembler(kLimit);
	for (uint64_t xid = 1; xid <= 200; ++xid) {
		std::string body(random() % 5000, '\0');
		for (char& c : body)
			c = static_cast<char>(random());
		const auto all = parts(xid, body, 1 + random() % 700);
		for (size_t i = 0; i + 1 < all.size(); ++i)
			ASSERT_EQ(assembler.add(all[i]), Result::incomplete);
		ASSERT_EQ(assembler.add(all.back()), Result::complete);
		const PartAssembler::Whole transaction = assembler.take();
		EXPECT_EQ(transaction.xid, xid);
		EXPECT_EQ(transaction.body, body);
	}
}

// A part that is missing must be noticed however the rest looks, once, and the next transaction must not suffer.
TEST(PartAssembler, EveryMissingPartIsOneFaultAndTheNextTransactionArrives)
{
	const auto all = parts(7, std::string(1000, 'x'), 100);
	for (size_t missing = 0; missing < all.size(); ++missing) {
		PartAssembler assembler(kLimit);
		int faults = 0;
		for (size_t i = 0; i < all.size(); ++i) {
			if (i == missing) continue;
			const Result result = assembler.add(all[i]);
			EXPECT_NE(result, Result::complete);
			faults += result == Result::fault;
		}
		const bool only_next_can_tell = missing == all.size() - 1;
		EXPECT_EQ(faults, only_next_can_tell ? 0 : 1) << missing;
		const Result next = assembler.add(part(8, 0, true, "y", 1));
		EXPECT_EQ(next, only_next_can_tell ? Result::fault : Result::complete) << missing;
		EXPECT_EQ(assembler.add(part(9, 0, true, "z", 1)), Result::complete);
		EXPECT_EQ(assembler.take().body, "z");
	}
}

TEST(PartAssembler, APartTwiceIsAFault)
{
	PartAssembler assembler(kLimit);
	EXPECT_EQ(assembler.add(part(7, 0, false, "ab", 4)), Result::incomplete);
	EXPECT_EQ(assembler.add(part(7, 1, false, "c", 4)), Result::incomplete);
	EXPECT_EQ(assembler.add(part(7, 1, false, "c", 4)), Result::fault);
	EXPECT_EQ(assembler.add(part(7, 2, true, "d", 4)), Result::incomplete);
}

TEST(PartAssembler, AnotherTransactionInBetweenIsAFault)
{
	PartAssembler assembler(kLimit);
	EXPECT_EQ(assembler.add(part(7, 0, false, "ab", 4)), Result::incomplete);
	EXPECT_EQ(assembler.add(part(8, 1, true, "cd", 4)), Result::fault);
	EXPECT_EQ(assembler.add(part(9, 0, true, "x", 1)), Result::complete);
}

TEST(PartAssembler, MoreOrFewerBytesThanToldAreAFault)
{
	PartAssembler assembler(kLimit);
	EXPECT_EQ(assembler.add(part(7, 0, true, "abc", 4)), Result::fault);
	EXPECT_EQ(assembler.add(part(8, 0, true, "abcde", 4)), Result::fault);
	EXPECT_EQ(assembler.add(part(9, 0, false, "abcde", 4)), Result::fault);
	EXPECT_EQ(assembler.add(part(10, 0, true, "abcd", 4)), Result::complete);
}

TEST(PartAssembler, ATransactionBeyondTheLimitIsOneFaultHoweverManyPartsItHas)
{
	PartAssembler assembler(1000);
	const auto all = parts(7, std::string(2000, 'x'), 10);
	EXPECT_EQ(assembler.add(all[0]), Result::fault);
	for (size_t i = 1; i < all.size(); ++i)
		EXPECT_EQ(assembler.add(all[i]), Result::incomplete) << i;
	EXPECT_EQ(assembler.add(part(8, 0, true, "abcd", 4)), Result::complete);
}

TEST(PartAssembler, ALostTransactionTakesItsMemoryAlong)
{
	PartAssembler assembler(kLimit);
	EXPECT_EQ(assembler.add(part(7, 0, false, "abc", kLimit)), Result::incomplete);
	EXPECT_EQ(assembler.add(part(7, 2, false, "abc", kLimit)), Result::fault);
	EXPECT_EQ(assembler.add(part(8, 0, true, "abcd", 4)), Result::complete);
	EXPECT_LT(assembler.take().body.capacity(), kLimit / 16);
}

TEST(PartAssembler, WhatIsNoPartIsAFault)
{
	PartAssembler assembler(kLimit);
	for (const std::string& payload : {std::string(), std::string("2abc"), std::string("1"), std::string("1\x05"),
	                                   std::string("1\0\0\0\0\0", 6), std::string("hello")})
		EXPECT_EQ(assembler.add(payload), Result::fault);
}

}  // namespace
}  // namespace plank::core
