// Chunks of interleaved transactions: what committed comes out in order and whole, or is known not to be.
#include "core/assembler.hpp"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <csignal>

#include <algorithm>
#include <map>
#include <random>

#include "chunks.hpp"
#include "records.hpp"

namespace plank::core {
namespace {

using test::ChunkBytes;
using Outcome = Assembler::Outcome;
using Strings = std::vector<std::string>;

Shape items(uint32_t relation = 7)
{
	return test::shape_of(relation, "public.t", {{"id", "integer"}, {"v", "text"}}, {0});
}

Assembler::Limits limits(size_t memory = 16 << 20, size_t spill = 1 << 30)
{
	return {memory, spill, ::testing::TempDir()};
}

// What a transaction says, in order: a row's first value, a message's payload, R and L for resets and losses.
Strings told(const Transaction& transaction)
{
	Strings list;
	RecordReader reader(transaction.body);
	Record record;
	while (reader.next(record)) {
		if (record.is_change())
			list.emplace_back(Reader(record.image).counted());
		else if (record.tag == Tag::message)
			list.emplace_back(record.payload);
		else if (record.tag == Tag::reset)
			list.push_back("R" + std::to_string(record.relation));
		else
			list.emplace_back("L");
	}
	return list;
}

Transaction finish(Assembly& assembly)
{
	// The shortest slices there can be.
	while (!assembly.step(Assembly::Clock::time_point::min())) {}
	return assembly.take();
}

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

// --- Against a model

// A session as PostgreSQL and the capture side make it: a stack of savepoints, records kept by level, a level's records
// written as a chunk under that level's id while it is the current one.
class Session {
 public:
	Session(std::mt19937_64& random, Assembler& assembler, uint32_t& next_xid)
	    : random_(random), assembler_(assembler), next_xid_(next_xid)
	{
		begin();
	}

	// One step; true when a transaction has ended and `check` was called with what it must have told.
	template <typename Check>
	void step(Check&& check)
	{
		switch (random_() % 16) {
			case 0:
			case 1:
				levels_.emplace_back();
				break;
			case 2:
				if (levels_.size() > 1) release();
				break;
			case 3:
				if (levels_.size() > 1) roll_back();
				break;
			case 4:
				if (random_() % 4 == 0) {
					while (levels_.size() > 1)
						release();
					if (!levels_[0].pending.empty()) flush(0);
					commit(check);
				}
				break;
			case 5:
				if (random_() % 16 == 0) {
					while (levels_.size() > 1)
						release();
					if (xid_of(0)) abort(0);
					begin();
				}
				break;
			case 6:
			case 7:
				if (!levels_.back().pending.empty()) flush(levels_.size() - 1);
				break;
			default:
				add();
		}
	}
	uint32_t top() const { return levels_[0].xid; }

 private:
	struct Level {
		uint32_t xid = 0;
		std::vector<uint32_t> committed;  // subtransactions that were released into it
		std::map<RecordKey, std::string> pending, written;
	};

	void begin()
	{
		levels_.assign(1, {});
		number_ = ordinal_ = 0;
		command_ = 0;
	}
	// PostgreSQL gives parents their ids first.
	uint32_t xid_of(size_t level)
	{
		for (size_t i = 0; i <= level; ++i)
			if (!levels_[i].xid) levels_[i].xid = next_xid_++;
		return levels_[level].xid;
	}
	void add()
	{
		command_ += static_cast<uint32_t>(random_() % 2);
		// A nested trigger's records come before the outer command's own.
		const uint32_t command = command_ - std::min<uint32_t>(command_, static_cast<uint32_t>(random_() % 3));
		const RecordKey key{command, ordinal_++};
		levels_.back().pending.emplace(key, std::to_string(random_() % 1000000) + std::string(random_() % 40, 'x'));
	}
	void flush(size_t level)
	{
		const uint32_t xid = xid_of(level);
		ChunkBytes chunk(levels_[0].xid, number_++, 1000);
		const uint32_t shape = static_cast<uint32_t>(random_() % 3);
		chunk.shape(shape, items(7 + shape));
		for (const auto& [key, value] : levels_[level].pending)
			chunk.row(key, Tag::insert, shape, {value, ""});
		ASSERT_TRUE(assembler_.add(xid, chunk.bytes()));
		levels_[level].written.merge(levels_[level].pending);
		levels_[level].pending.clear();
	}
	void release()
	{
		Level child = std::move(levels_.back());
		levels_.pop_back();
		Level& parent = levels_.back();
		parent.pending.merge(child.pending);
		parent.written.merge(child.written);
		if (child.xid) parent.committed.push_back(child.xid);
		parent.committed.insert(parent.committed.end(), child.committed.begin(), child.committed.end());
	}
	void abort(size_t level)
	{
		const Level& gone = levels_[level];
		if (gone.xid) assembler_.abort(gone.xid, gone.committed.data(), gone.committed.size());
	}
	void roll_back()
	{
		abort(levels_.size() - 1);
		levels_.pop_back();
	}
	template <typename Check>
	void commit(Check&& check)
	{
		const Level& level = levels_[0];
		if (level.xid) {
			std::unique_ptr<Assembly> assembly;
			const Outcome outcome =
			    assembler_.commit(level.xid, level.committed.data(), level.committed.size(), assembly);
			check(level.xid, level.written, outcome, assembly.get());
		}
		begin();
	}

	std::mt19937_64& random_;
	Assembler& assembler_;
	uint32_t& next_xid_;
	std::vector<Level> levels_;
	uint64_t number_ = 0, ordinal_ = 0;
	uint32_t command_ = 0;
};

void run_model(uint64_t seed, size_t memory)
{
	SCOPED_TRACE("seed " + std::to_string(seed));
	std::mt19937_64 random(seed);
	ShapeCache shapes;
	Assembler assembler(shapes, limits(memory));
	assembler.prove({});
	uint32_t next_xid = 100;
	std::vector<Session> sessions;
	for (int i = 0; i < 5; ++i)
		sessions.emplace_back(random, assembler, next_xid);
	int commits = 0;
	for (int i = 0; i < 4000; ++i) {
		sessions[random() % sessions.size()].step(
		    [&](uint32_t top, const std::map<RecordKey, std::string>& written, Outcome outcome, Assembly* assembly) {
			    ++commits;
			    ASSERT_EQ(outcome, written.empty() ? Outcome::nothing : Outcome::whole);
			    if (!assembly) return;
			    const Transaction transaction = finish(*assembly);
			    EXPECT_EQ(transaction.xid, top);
			    EXPECT_EQ(transaction.contents.changes, written.size());
			    Strings expected;
			    for (const auto& [key, value] : written)
				    expected.push_back(value);
			    ASSERT_TRUE(told(transaction) == expected);
		    });
		if (::testing::Test::HasFatalFailure()) return;
		if (random() % 64 == 0) {
			std::vector<uint32_t> tops;
			for (const Session& session : sessions)
				if (session.top()) tops.push_back(session.top());
			assembler.running(tops.data(), tops.size(), next_xid);
		}
	}
	EXPECT_GT(commits, 20);
	assembler.restarted();
	EXPECT_EQ(assembler.open(), 0u);
	EXPECT_EQ(assembler.memory(), 0u);
	EXPECT_EQ(assembler.spilled(), 0u);
	EXPECT_EQ(assembler.restart(), UINT64_MAX);
}

TEST(AssemblerModel, RandomTransactionsInMemory)
{
	const uint64_t base = std::random_device{}();
	for (uint64_t seed = base; seed < base + 20; ++seed)
		run_model(seed, 16 << 20);
}

TEST(AssemblerModel, RandomTransactionsInFiles)
{
	const uint64_t base = std::random_device{}();
	for (uint64_t seed = base; seed < base + 10; ++seed)
		run_model(seed, 4096);
}

}  // namespace
}  // namespace plank::core
