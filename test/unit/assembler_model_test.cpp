// Random transactions with savepoints, interleaved, against a model of what PostgreSQL would have committed.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

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
