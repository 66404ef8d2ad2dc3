// Chunks of interleaved transactions: what committed comes out in order and whole, or is known not to be.
#include "core/assembler.hpp"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <csignal>

#include "assemblies.hpp"
#include "chunks.hpp"

namespace plank::core {
namespace {

using test::ChunkBytes;
using test::finish;
using test::items;
using test::limits;
using test::Strings;
using test::told;
using Outcome = Assembler::Outcome;

class AssemblerTest : public ::testing::Test {
 protected:
	Outcome commit(uint32_t top, const std::vector<uint32_t>& subs = {})
	{
		std::unique_ptr<Assembly> assembly;
		const Outcome outcome = assembler.commit(top, subs.data(), subs.size(), assembly);
		EXPECT_EQ(outcome == Outcome::whole, assembly != nullptr);
		if (assembly) transaction = finish(*assembly);
		return outcome;
	}
	// A chunk with one row, and another wherever `keys` says.
	bool add(uint32_t xid, uint64_t top, uint64_t number, const std::vector<std::pair<RecordKey, std::string>>& rows,
	         uint64_t first_lsn = 100)
	{
		ChunkBytes chunk(top, number, first_lsn);
		chunk.shape(0, items());
		for (const auto& [key, value] : rows)
			chunk.row(key, Tag::insert, 0, {value, ""});
		return assembler.add(xid, chunk.bytes());
	}
	void running(const std::vector<uint32_t>& tops, uint32_t next)
	{
		assembler.running(tops.data(), tops.size(), next);
	}

	ShapeCache shapes;
	Assembler assembler{shapes, limits()};
	Transaction transaction;
};

TEST_F(AssemblerTest, OneTransaction)
{
	assembler.prove({});
	ASSERT_TRUE(add(9, 9, 0, {{{0, 0}, "1"}, {{1, 1}, "2"}}));
	EXPECT_EQ(assembler.restart(), 100u);
	EXPECT_EQ(commit(9), Outcome::whole);
	EXPECT_EQ(transaction.xid, 9u);
	EXPECT_EQ(told(transaction), (Strings{"1", "2"}));
	EXPECT_EQ(transaction.contents.changes, 2u);
	ASSERT_EQ(transaction.contents.ops.size(), 1u);
	EXPECT_EQ(transaction.contents.ops[0], op_bit(Op::insert));
	EXPECT_EQ(assembler.restart(), UINT64_MAX);
	EXPECT_EQ(assembler.open(), 0u);
	EXPECT_EQ(assembler.memory(), 0u);
	EXPECT_EQ(commit(9), Outcome::nothing);
}

TEST_F(AssemblerTest, KeepsTheXidsUpperHalf)
{
	assembler.prove({});
	const uint64_t full = (uint64_t{3} << 32) + 12;
	ASSERT_TRUE(add(12, full, 0, {{{0, 0}, "1"}}));
	EXPECT_EQ(commit(12), Outcome::whole);
	EXPECT_EQ(transaction.xid, full);
	// The same number an epoch later is another transaction.
	ASSERT_TRUE(add(12, full, 0, {{{0, 0}, "old"}}));
	ASSERT_TRUE(add(12, full + (uint64_t{1} << 32), 0, {{{0, 0}, "new"}}));
	EXPECT_EQ(commit(12), Outcome::whole);
	EXPECT_EQ(told(transaction), Strings{"new"});
}

TEST_F(AssemblerTest, OverlappingChunksAreMerged)
{
	assembler.prove({});
	ASSERT_TRUE(add(9, 9, 0, {{{0, 2}, "c"}, {{4, 5}, "f"}}));
	ASSERT_TRUE(add(9, 9, 1, {{{0, 1}, "b"}, {{2, 3}, "d"}}));
	ASSERT_TRUE(add(9, 9, 2, {{{0, 0}, "a"}, {{3, 4}, "e"}}));
	ASSERT_TRUE(add(9, 9, 3, {{{7, 6}, "g"}}));
	EXPECT_EQ(commit(9), Outcome::whole);
	EXPECT_EQ(told(transaction), (Strings{"a", "b", "c", "d", "e", "f", "g"}));
}

TEST_F(AssemblerTest, WhatSavepointsTookBackIsDropped)
{
	assembler.prove({});
	ASSERT_TRUE(add(10, 9, 0, {{{0, 0}, "rolled back"}}));
	const uint32_t none = 0;
	assembler.abort(10, &none, 0);
	ASSERT_TRUE(add(11, 9, 1, {{{1, 1}, "kept"}}));
	// Its abort is not read, or is still to come: it is not among the committed ones.
	ASSERT_TRUE(add(12, 9, 2, {{{2, 2}, "not committed"}}));
	ASSERT_TRUE(add(9, 9, 3, {{{3, 3}, "top"}}));
	EXPECT_EQ(commit(9, {11}), Outcome::whole);
	EXPECT_EQ(told(transaction), (Strings{"kept", "top"}));
	EXPECT_EQ(transaction.contents.changes, 2u);
	EXPECT_EQ(assembler.memory(), 0u);
}

TEST_F(AssemblerTest, AllTakenBackIsNothing)
{
	assembler.prove({});
	ASSERT_TRUE(add(10, 9, 0, {{{0, 0}, "1"}}));
	EXPECT_EQ(commit(9), Outcome::nothing);
}

TEST_F(AssemblerTest, AnAbortedChildTakesItsChildrenAlong)
{
	assembler.prove({});
	ASSERT_TRUE(add(10, 9, 0, {{{0, 0}, "outer"}}));
	ASSERT_TRUE(add(11, 9, 1, {{{1, 1}, "inner"}}));
	const uint32_t inner = 11;
	assembler.abort(10, &inner, 1);
	EXPECT_EQ(commit(9), Outcome::nothing);
}

TEST_F(AssemblerTest, AnAbortedTransactionLeavesNothing)
{
	assembler.prove({});
	ASSERT_TRUE(add(10, 9, 0, {{{0, 0}, "1"}}));
	const uint32_t sub = 10;
	assembler.abort(9, &sub, 1);
	EXPECT_EQ(assembler.open(), 0u);
	EXPECT_EQ(assembler.memory(), 0u);
	EXPECT_EQ(assembler.restart(), UINT64_MAX);
}

TEST_F(AssemblerTest, AMissingHeadIsNoticed)
{
	assembler.prove({});
	ASSERT_TRUE(add(9, 9, 1, {{{0, 0}, "1"}}, 50));
	EXPECT_EQ(assembler.restart(), 50u);
	EXPECT_EQ(commit(9), Outcome::unknown);
	EXPECT_EQ(assembler.memory(), 0u);
}

TEST_F(AssemblerTest, AMissingMiddleIsNoticed)
{
	assembler.prove({});
	ASSERT_TRUE(add(9, 9, 0, {{{0, 0}, "1"}}));
	ASSERT_TRUE(add(9, 9, 2, {{{1, 2}, "3"}}));
	EXPECT_EQ(commit(9), Outcome::unknown);
}

TEST_F(AssemblerTest, SuspectsAreThoseThatRanAndWereNotSeen)
{
	ASSERT_TRUE(add(9, 9, 0, {{{0, 0}, "1"}}));
	EXPECT_FALSE(assembler.proven());
	EXPECT_EQ(assembler.restart(), 0u);
	running({8, 9, 10}, 12);
	EXPECT_TRUE(assembler.proven());
	EXPECT_EQ(assembler.restart(), 0u);
	EXPECT_EQ(commit(8), Outcome::unknown);
	EXPECT_EQ(commit(9), Outcome::whole);
	EXPECT_EQ(commit(8), Outcome::nothing) << "told once";
	EXPECT_EQ(commit(12), Outcome::nothing) << "began later and said nothing";
	EXPECT_EQ(assembler.restart(), 0u);
	running({}, 12);
	EXPECT_EQ(commit(10), Outcome::nothing) << "had ended before the second list";
	EXPECT_EQ(assembler.restart(), UINT64_MAX);
}

TEST_F(AssemblerTest, ASuspectThatBeginsToSpeakIsNone)
{
	running({8, 9}, 10);
	ASSERT_TRUE(add(8, 8, 0, {{{0, 0}, "1"}}));
	ASSERT_TRUE(add(9, 9, 4, {{{0, 0}, "1"}}, 60));
	EXPECT_EQ(assembler.restart(), 60u);
	EXPECT_EQ(commit(8), Outcome::whole);
	EXPECT_EQ(commit(9), Outcome::unknown);
}

TEST_F(AssemblerTest, ProvingNarrowsTheSuspects)
{
	running({8, 9, 10}, 11);
	ASSERT_TRUE(add(9, 9, 0, {{{0, 0}, "1"}}));
	assembler.prove({9, 10, 77});
	EXPECT_EQ(commit(8), Outcome::nothing);
	EXPECT_EQ(commit(9), Outcome::whole);
	EXPECT_EQ(commit(77), Outcome::nothing);
	EXPECT_EQ(commit(10), Outcome::unknown);
}

TEST_F(AssemblerTest, TheDeadArePurged)
{
	assembler.prove({});
	ASSERT_TRUE(add(9, 9, 0, {{{0, 0}, "died"}}));
	ASSERT_TRUE(add(10, 10, 0, {{{0, 0}, "runs"}}));
	ASSERT_TRUE(add(20, 20, 0, {{{0, 0}, "later"}}));
	running({10}, 15);
	EXPECT_EQ(assembler.open(), 2u);
	assembler.prepare(20);
	assembler.restarted();
	EXPECT_EQ(assembler.open(), 1u);
	EXPECT_EQ(commit(20), Outcome::whole);
	EXPECT_EQ(told(transaction), Strings{"later"});
	EXPECT_EQ(assembler.memory(), 0u);
}

TEST_F(AssemblerTest, PurgingKnowsThatIdsComeRound)
{
	assembler.prove({});
	ASSERT_TRUE(add(UINT32_MAX - 2, UINT32_MAX - 2, 0, {{{0, 0}, "died"}}));
	ASSERT_TRUE(add(5, (uint64_t{1} << 32) + 5, 0, {{{0, 0}, "later"}}));
	running({}, 4);
	EXPECT_EQ(assembler.open(), 1u);
	EXPECT_EQ(commit(5), Outcome::whole);
}

TEST_F(AssemblerTest, BytesThatAreNoChunk)
{
	assembler.prove({});
	EXPECT_FALSE(assembler.add(9, "nonsense"));
	EXPECT_FALSE(assembler.add(9, ""));
	ChunkBytes wrong_columns(9, 0);
	wrong_columns.shape(0, items()).row({0, 0}, Tag::insert, 0, {"1"});
	EXPECT_FALSE(assembler.add(9, wrong_columns.bytes()));
	ChunkBytes huge_number(9, 0);
	huge_number.shape(UINT32_MAX, items()).row({0, 0}, Tag::insert, UINT32_MAX, {"1", ""});
	EXPECT_FALSE(assembler.add(9, huge_number.bytes()));
	EXPECT_EQ(commit(9), Outcome::unknown) << "what was not understood is not passed over";
}

// --- Memory and files

class SpillingTest : public AssemblerTest {
 protected:
	void fill(uint32_t top, uint64_t chunks, size_t size)
	{
		for (uint64_t i = 0; i < chunks; ++i)
			ASSERT_TRUE(
			    add(top, top, i, {{{static_cast<uint32_t>(i), i}, std::to_string(i) + std::string(size, 'x')}}));
	}
	void expect_filled(uint64_t chunks, size_t size)
	{
		const Strings list = told(transaction);
		ASSERT_EQ(list.size(), chunks);
		for (uint64_t i = 0; i < chunks; ++i)
			ASSERT_EQ(list[i], std::to_string(i) + std::string(size, 'x'));
	}
};

TEST_F(SpillingTest, TheLargestMovesToAFile)
{
	assembler.prove({});
	assembler.set_limits(limits(1 << 20));
	fill(9, 200, 10000);
	fill(10, 50, 1000);
	EXPECT_LE(assembler.memory(), size_t{1} << 20);
	EXPECT_GT(assembler.spilled(), size_t{1} << 20);
	EXPECT_EQ(commit(10), Outcome::whole);
	EXPECT_EQ(transaction.body.mapped(), 0u);
	expect_filled(50, 1000);
	EXPECT_EQ(commit(9), Outcome::whole);
	EXPECT_GT(transaction.body.mapped(), size_t{1} << 20);
	expect_filled(200, 10000);
	EXPECT_EQ(assembler.memory(), 0u);
	EXPECT_EQ(assembler.spilled(), 0u);
	EXPECT_EQ(assembler.take_error(), "");
}

TEST_F(SpillingTest, WhatOverlapsInAFileIsMergedIntoAnother)
{
	assembler.prove({});
	assembler.set_limits(limits(0));
	const std::string filling(20000, 'x');
	Strings expected;
	// Chunk i holds the keys i, i + 100, i + 200: all overlap.
	for (uint64_t i = 0; i < 100; ++i) {
		std::vector<std::pair<RecordKey, std::string>> rows;
		for (uint32_t round = 0; round < 3; ++round)
			rows.emplace_back(RecordKey{round, i}, std::to_string(round * 100 + i) + filling);
		ASSERT_TRUE(add(9, 9, i, rows));
	}
	for (int i = 0; i < 300; ++i)
		expected.push_back(std::to_string(i) + filling);
	EXPECT_EQ(commit(9), Outcome::whole);
	EXPECT_TRUE(told(transaction) == expected);
	EXPECT_GT(transaction.body.mapped(), size_t{5} << 20);
}

TEST_F(SpillingTest, NoRoomMeansLost)
{
	assembler.prove({});
	assembler.set_limits(limits(1 << 20, 2 << 20));
	fill(9, 1000, 10000);
	EXPECT_LE(assembler.memory(), size_t{1} << 20);
	EXPECT_EQ(assembler.spilled(), 0u);
	EXPECT_NE(assembler.take_error(), "");
	EXPECT_EQ(assembler.take_error(), "");
	fill(10, 10, 1000);
	EXPECT_EQ(commit(10), Outcome::whole) << "others do not suffer";
	expect_filled(10, 1000);
	EXPECT_EQ(commit(9), Outcome::whole);
	EXPECT_EQ(told(transaction), Strings{"L"});
	EXPECT_EQ(transaction.contents.others, 1u);
	RecordReader reader(transaction.body);
	Record record;
	ASSERT_TRUE(reader.next(record));
	EXPECT_EQ(Reader(record.relations).varint(), 7u);
	EXPECT_EQ(assembler.memory(), 0u);
}

TEST_F(SpillingTest, AnUnusableFolderMeansLost)
{
	assembler.prove({});
	assembler.set_limits({0, 1 << 30, "/nonexistent"});
	fill(9, 2, 10);
	EXPECT_NE(assembler.take_error().find("/nonexistent"), std::string::npos);
	EXPECT_EQ(commit(9), Outcome::whole);
	EXPECT_EQ(told(transaction), Strings{"L"});
}

TEST_F(SpillingTest, AFullDiskMeansLost)
{
	assembler.prove({});
	assembler.set_limits(limits(0));
	rlimit former{};
	ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &former), 0);
	const auto handler = std::signal(SIGXFSZ, SIG_IGN);
	const rlimit small{100000, former.rlim_max};
	ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
	fill(9, 30, 10000);
	// One that just fits, but whose merged copy does not.
	for (uint64_t i = 0; i < 8; ++i)
		ASSERT_TRUE(add(10, 10, i, {{{0, i}, std::string(6000, 'a')}, {{1, i}, std::string(6000, 'b')}}));
	EXPECT_EQ(commit(9), Outcome::whole);
	EXPECT_EQ(told(transaction), Strings{"L"});
	const rlimit smaller{50000, former.rlim_max};
	ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &smaller), 0);
	EXPECT_EQ(commit(10), Outcome::whole);
	EXPECT_EQ(told(transaction), Strings{"L"});
	ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &former), 0);
	std::signal(SIGXFSZ, handler);
	EXPECT_NE(assembler.take_error(), "");
}

TEST_F(SpillingTest, ALostMessageConcernsEverybody)
{
	assembler.prove({});
	assembler.set_limits({0, 0, "/nonexistent"});
	ChunkBytes chunk(9, 0);
	chunk.message({0, 0}, "jobs", "{}");
	ASSERT_TRUE(assembler.add(9, chunk.bytes()));
	EXPECT_EQ(commit(9), Outcome::whole);
	RecordReader reader(transaction.body);
	Record record;
	ASSERT_TRUE(reader.next(record));
	EXPECT_EQ(record.tag, Tag::lost);
	EXPECT_TRUE(record.relations.empty());
}

TEST_F(SpillingTest, ManyLargeTransactionsDoNotTakeAllDescriptors)
{
	assembler.prove({});
	assembler.set_limits(limits(1 << 20));
	constexpr uint32_t count = 400;
	for (uint32_t top = 10; top < 10 + count; ++top)
		ASSERT_TRUE(add(top, top, 0, {{{0, 0}, std::string(20000, 'x')}}));
	EXPECT_LE(assembler.memory(), size_t{1} << 20);
	int delivered = 0, lost = 0;
	for (uint32_t top = 10; top < 10 + count; ++top) {
		ASSERT_EQ(commit(top), Outcome::whole);
		(told(transaction) == Strings{"L"} ? lost : delivered)++;
	}
	EXPECT_GE(delivered, 256);
	EXPECT_GT(lost, 0);
	EXPECT_EQ(assembler.memory(), 0u);
}

}  // namespace
}  // namespace plank::core
