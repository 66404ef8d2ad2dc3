// Memory: when it is low and when it is too much, what the hub gives back then, whom it refuses, and whom it closes.
#include <algorithm>

#include "core/memory_pressure.hpp"
#include "hub_fakes.hpp"

namespace plank::core {
namespace {

using State = MemoryPressure::State;

TEST(MemoryPressure, RefusesFromNinetyPerCentOnAndUntilThereIsMoreThanThat)
{
	MemoryPressure pressure;
	pressure.set_limit(1000);
	EXPECT_EQ(pressure.look(900), State::ample);
	EXPECT_EQ(pressure.look(901), State::low);
	EXPECT_EQ(pressure.look(860), State::low);
	EXPECT_EQ(pressure.excess(860), 0u);
	EXPECT_EQ(pressure.look(849), State::ample);
	EXPECT_EQ(pressure.look(860), State::ample);
}

TEST(MemoryPressure, AboveTheLimitAsMuchHasToGoAsBringsItWellBelow)
{
	MemoryPressure pressure;
	pressure.set_limit(1000);
	EXPECT_EQ(pressure.look(1000), State::low);
	EXPECT_EQ(pressure.look(1001), State::over);
	EXPECT_EQ(pressure.excess(1001), 151u);
	EXPECT_EQ(pressure.look(870), State::over);
	EXPECT_EQ(pressure.excess(870), 20u);
	EXPECT_EQ(pressure.look(840), State::ample);
	EXPECT_EQ(pressure.excess(840), 0u);
}

TEST(MemoryPressure, WithoutALimitThereIsNone)
{
	MemoryPressure pressure;
	EXPECT_EQ(pressure.look(SIZE_MAX), State::ample);
	pressure.set_limit(10);
	EXPECT_EQ(pressure.look(SIZE_MAX), State::over);
	pressure.set_limit(0);
	EXPECT_EQ(pressure.look(SIZE_MAX), State::ample);
}

class HubMemory : public test::HubFixture {
 protected:
	// Numbers of the clients that have been closed.
	std::vector<size_t> closed() const
	{
		std::vector<size_t> numbers;
		for (size_t i = 0; i < clients.size(); ++i) {
			if (!clients[i]->link.closed) continue;
			EXPECT_EQ(clients[i]->link.closed, 1013);
			EXPECT_FALSE(clients[i]->link.drains);
			numbers.push_back(i);
		}
		return numbers;
	}
};

TEST_F(HubMemory, TheLargestIsClosedAndNobodyMoreThanIsNeeded)
{
	table(1, "items");
	for (int i = 0; i < 3; ++i)
		subscribe(connect(), "a", "items");
	Client& hungry = connect();
	for (int i = 0; i < 500; ++i)
		subscribe(hungry, "s" + std::to_string(i), "items");
	subscribe(connect(), "a", "items");
	EXPECT_EQ(hub.shed(100'000), 1u);
	EXPECT_EQ(closed(), std::vector<size_t>{3});
	EXPECT_EQ(hub.counters().shed, 1u);
	EXPECT_EQ(hub.shed(1), 1u) << "who is on his way out has no more to give";
	EXPECT_EQ(closed().size(), 2u);
	EXPECT_EQ(hub.shed(0), 0u);
}

TEST_F(HubMemory, ConnectionsAnswersQuestionsAndConditionsCount)
{
	const Shape items = table(1, "items");
	evaluator.bytes_of_one = 50'000;
	Client &modest = connect(), &connection = connect(), &answers = connect(), &questions = connect(),
	       &conditions = connect();
	subscribe(modest, "a", "items", R"(,"where":"v=shared")");
	subscribe(conditions, "a", "items", R"(,"where":"v=shared")");
	for (const char* value : {"1", "2", "3", "4"})
		subscribe(conditions, value, "items", R"(,"where":"v=)" + std::string(value) + "\"");
	connection.link.bytes = 170'000;
	const std::string id(64, 'i');
	for (int i = 0; i < 2000; ++i)
		hub.receive(*answers.session, R"({"type":"ping","id":")" + id + "\"}");
	for (int i = 0; i < 60; ++i)
		hub.receive(*questions.session,
		            R"({"type":"subscribe","id":"q","table":"items","where":")" + std::string(2000, 'w') + "\"}");
	std::vector<size_t> order;
	while (order.size() < 4) {
		ASSERT_EQ(hub.shed(1), 1u);
		for (const size_t number : closed())
			if (std::find(order.begin(), order.end(), number) == order.end()) order.push_back(number);
	}
	std::sort(order.begin(), order.end());
	EXPECT_EQ(order, (std::vector<size_t>{1, 2, 3, 4}));
	EXPECT_EQ(modest.link.closed, 0) << "it has half a condition and little else";
}

TEST_F(HubMemory, WhoWaitsForTheLogCountsWithIt)
{
	const Shape items = table(1, "items");
	table(2, "others");
	Client &reads = connect(), &stalls = connect();
	subscribe(reads, "a", "items");
	subscribe(stalls, "a", "items");
	read(reads);
	read(stalls);
	for (uint64_t xid = 10; xid < 20; ++xid)
		deliver_row(xid, items, '"' + std::string(50'000, 'x') + '"');
	read(reads);
	EXPECT_EQ(hub.shed(10'000), 1u);
	EXPECT_EQ(closed(), std::vector<size_t>{1});
}

TEST_F(HubMemory, OneTurnMakesNoMoreFramesThanMemoryCanBeLookedAtFor)
{
	const Shape items = table(1, "items");
	HubLimits little = limits();
	little.memory = 32 * 100'000;
	hub.set_limits(little);
	for (int i = 0; i < 10; ++i)
		subscribe(connect(), "a" + std::to_string(i), "items");
	for (const auto& client : clients)
		read(*client);
	deliver_row(10, items, '"' + std::string(50'000, 'x') + '"');
	const auto turn = [&] {
		hub.begin_turn(std::chrono::steady_clock::time_point::max());
		size_t told = 0;
		for (const auto& client : clients)
			told += read(*client) == "transaction:10";
		return told;
	};
	EXPECT_EQ(turn(), 2u);
	EXPECT_TRUE(hub.has_rendered_much());
	EXPECT_TRUE(hub.has_starved());
	for (int i = 0; i < 4; ++i)
		EXPECT_EQ(turn(), 2u);
	EXPECT_EQ(turn(), 0u);
	EXPECT_FALSE(hub.has_rendered_much());
}

TEST_F(HubMemory, OneTurnClosesNoMoreThanItHasTimeFor)
{
	for (int i = 0; i < 250; ++i)
		connect();
	EXPECT_EQ(hub.shed(SIZE_MAX), 100u);
	EXPECT_EQ(hub.shed(SIZE_MAX), 100u);
	EXPECT_EQ(hub.shed(SIZE_MAX), 50u);
	EXPECT_EQ(hub.shed(SIZE_MAX), 0u);
}

TEST_F(HubMemory, WhoIsClosedInTheMidstOfEverythingLeavesNothingBehind)
{
	const Shape items = table(1, "items");
	past.replays = true;
	Client& client = connect();
	subscribe(client, "a", "items", R"(,"snapshot":true)");
	subscribe(client, "b", "items", R"(,"since":"e:w:1")");
	subscribe(client, "c", "items", R"(,"where":"v=1")");
	hub.receive(*client.session, R"({"type":"subscribe","id":"d","table":"items"})");
	deliver_row(10, items, "1");
	EXPECT_EQ(hub.shed(1), 1u);
	EXPECT_TRUE(snapshots.wanted.empty());
	EXPECT_TRUE(past.wanted.empty());
	hub.close(*client.session);
	hub.trim();
	EXPECT_TRUE(evaluator.all.empty());
	judge();
	answer();
	deliver_row(11, items, "1");
	EXPECT_EQ(hub.sessions(), 0u);
}

TEST_F(HubMemory, WhileItIsLowNewSubscriptionsAreRefusedAndOldOnesGoOn)
{
	const Shape items = table(1, "items");
	Client& client = connect();
	subscribe(client, "a", "items");
	hub.set_memory_is_low(true);
	subscribe(client, "b", "items");
	subscribe_channel(client, "c", "jobs");
	deliver_row(10, items);
	EXPECT_EQ(read(client), "subscribed:a error:b:53400 error:c:53400 transaction:10");
	hub.set_memory_is_low(false);
	subscribe(client, "b", "items");
	EXPECT_EQ(read(client), "subscribed:b");
}

TEST_F(HubMemory, ThereIsAsMuchHistoryAsThereIsMemoryToSpare)
{
	const Shape items = table(1, "items");
	HubLimits small = limits();
	small.log.memory = 1 << 20;
	hub.set_limits(small);
	for (uint64_t xid = 10; xid < 20; ++xid) {
		deliver_row(xid, items, '"' + std::string(50'000, 'x') + '"');
		hub.trim();
	}
	EXPECT_GT(hub.log().memory(), 500'000u);
	const size_t full = hub.log().memory();
	EXPECT_FALSE(hub.set_spare_memory(INT64_MAX));
	EXPECT_FALSE(hub.set_spare_memory(1 << 20));
	EXPECT_TRUE(hub.set_spare_memory(0));
	EXPECT_EQ(hub.log_limits().soft(), full) << "it may not grow";
	EXPECT_FALSE(hub.set_spare_memory(1000)) << "not worth a look at all clients";
	EXPECT_TRUE(hub.set_spare_memory(-300'000));
	hub.trim();
	EXPECT_LE(hub.log().memory(), full - 300'000);
	EXPECT_TRUE(hub.set_spare_memory(1 << 20));
	EXPECT_EQ(hub.log_limits().soft(), small.log.memory);
	EXPECT_TRUE(hub.set_spare_memory(-(1 << 30)));
	hub.trim();
	EXPECT_LE(hub.log().memory(), small.log.memory / 8);
	hub.set_limits(small);
	deliver_row(20, items, '"' + std::string(200'000, 'x') + '"');
	hub.trim();
	EXPECT_LE(hub.log().memory(), small.log.memory / 8) << "a reload changes nothing about it";
}

TEST_F(HubMemory, WithoutMemoryToSpareWhatSomebodyNeedsWaitsOnDiskAndNobodyIsCut)
{
	const Shape items = table(1, "items");
	HubLimits small = limits();
	small.log.memory = 1 << 20;
	hub.set_limits(small);
	Client& client = connect();
	subscribe(client, "a", "items");
	read(client);
	hub.set_spare_memory(-1'000'000);
	for (uint64_t xid = 10; xid < 40; ++xid) {
		deliver_row(xid, items, '"' + std::string(50'000, 'x') + '"');
		hub.trim();
	}
	EXPECT_LE(hub.log().memory(), small.log.memory / 8);
	EXPECT_GT(hub.log().spilled(), 1'000'000u);
	std::string all = read(client);
	EXPECT_EQ(std::count(all.begin(), all.end(), 't'), 30 * 2) << all;
	EXPECT_EQ(client.link.closed, 0);
}

TEST_F(HubMemory, ConditionsTakeAQuarterAndEqualOnesTakeNothing)
{
	table(1, "items");
	HubLimits little = limits();
	little.memory = 400'000;
	hub.set_limits(little);
	evaluator.bytes_of_one = 40'000;
	Client &client = connect(), &other = connect();
	const auto want = [&](Client& who, const char* id, const char* value) {
		subscribe(who, id, "items", R"(,"where":"v=)" + std::string(value) + "\"");
		return read(who);
	};
	EXPECT_EQ(want(client, "a", "1"), "subscribed:a");
	EXPECT_EQ(want(client, "b", "2"), "subscribed:b");
	EXPECT_EQ(want(client, "c", "3"), "error:c:53400");
	EXPECT_EQ(evaluator.all.size(), 2u) << "what was refused is not kept";
	EXPECT_EQ(want(other, "c", "2"), "subscribed:c");
	subscribe(other, "d", "items");
	EXPECT_EQ(read(other), "subscribed:d") << "without a condition it takes none of it";
	hub.close(*client.session);
	EXPECT_EQ(want(other, "e", "3"), "subscribed:e");
	little.memory = 0;
	hub.set_limits(little);
	EXPECT_EQ(want(other, "f", "4"), "subscribed:f");
}

}  // namespace
}  // namespace plank::core
