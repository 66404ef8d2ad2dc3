// The shared log: what it keeps, moves to disk and lets go, and that memory really is given back.
#include "core/transaction_log.hpp"

#include <gtest/gtest.h>

namespace plank::core {
namespace {

constexpr size_t kBody = 100 * 1024;

LogEntry entry(size_t bytes, char fill = 'x')
{
	LogEntry made;
	made.transaction.body.add(std::string(bytes, fill));
	return made;
}

class Log : public testing::Test {
 protected:
	TransactionLog log{{1 << 20, 10 << 20, testing::TempDir()}};
	std::string error;

	void append(int count, uint64_t needed, size_t bytes = kBody)
	{
		for (int i = 0; i < count; ++i) {
			log.append(entry(bytes, static_cast<char>('a' + log.end() % 26)));
			log.trim(std::min(needed, log.end()), error);
		}
		EXPECT_EQ(error, "");
	}
};

TEST_F(Log, KeepsWhatNobodyNeedsOnlyUpToItsMemory)
{
	append(100, UINT64_MAX);
	EXPECT_LE(log.memory(), size_t{1} << 20);
	EXPECT_GE(log.end() - log.first(), 8u);
	EXPECT_EQ(log.spilled(), 0u);
}

TEST_F(Log, MovesWhatSomebodyNeedsToDiskAndGivesItsMemoryBack)
{
	append(50, 1);
	EXPECT_EQ(log.first(), 1u);
	EXPECT_LE(log.memory(), size_t{1} << 20);
	EXPECT_GE(log.spilled(), 38 * kBody);
	for (uint64_t number = log.first(); number < log.end(); ++number) {
		const LogEntry& read = log.at(number);
		ASSERT_EQ(read.body().pieces().size(), 1u);
		EXPECT_EQ(read.body().pieces()[0].bytes, std::string(kBody, static_cast<char>('a' + number % 26)));
		EXPECT_LT(read.mapped ? read.body().memory() : 0, 256u);
	}
}

TEST_F(Log, LetsTheOldestGoWhenTheDiskIsFullToo)
{
	append(200, 1);
	EXPECT_LE(log.spilled(), size_t{10} << 20);
	EXPECT_LE(log.memory(), size_t{2} << 20);
	EXPECT_GT(log.first(), 1u);
	EXPECT_GE((log.end() - log.first()) * kBody, size_t{9} << 20);
}

TEST_F(Log, FilesGoAsSoonAsNobodyNeedsThem)
{
	append(50, 1);
	log.trim(log.end(), error);
	EXPECT_EQ(log.spilled(), 0u);
	EXPECT_LE(log.memory(), size_t{1} << 20);
}

TEST_F(Log, SmallTransactionsAreNotWorthAFileAndTakeTwiceTheMemoryAtMost)
{
	append(10000, 1, 1000);
	EXPECT_EQ(log.spilled(), 0u);
	EXPECT_LE(log.memory(), size_t{2} << 20);
	EXPECT_GT(log.first(), 1u);
}

TEST_F(Log, ADirectoryThatIsNotThereIsSaidAndTheLogStaysBounded)
{
	log.set_limits({1 << 20, 10 << 20, "/nonexistent"});
	for (int i = 0; i < 100; ++i) {
		log.append(entry(kBody));
		error.clear();
		log.trim(1, error);
		EXPECT_LE(log.memory(), size_t{2} << 20);
	}
	EXPECT_NE(error.find("/nonexistent"), std::string::npos) << error;
}

}  // namespace
}  // namespace plank::core
