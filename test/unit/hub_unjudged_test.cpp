// What conditions cannot judge: rows of another definition of the table, and more than there is time or a database for.
#include "core/hub.hpp"

#include <gtest/gtest.h>

#include "hub_fakes.hpp"

namespace plank::core {
namespace {

using std::chrono::steady_clock;
using test::Body;

class Unjudged : public test::HubFixture {
 protected:
	Shape items = table(1, "items");

	void insert(uint64_t xid, const std::string& v)
	{
		deliver_row(xid, items, v);
		judge();
	}
	void unlock()
	{
		evaluator.locked_from = SIZE_MAX;
		const auto end = steady_clock::now() + std::chrono::seconds(10);
		while (!hub.has_to_judge() && steady_clock::now() < end) {}
	}
};

TEST_F(Unjudged, ARowOfAnotherDefinitionResetsThoseWhoseFilterCannotReadIt)
{
	Client &client = connect(), &other = connect();
	subscribe(client, "a", "items", R"(,"where":"v=\"x\"")");
	subscribe(other, "a", "items", R"(,"where":"v=\"y\"")");
	read(client);
	read(other);
	evaluator.unreadable = "v=\"x\"";
	insert(10, "\"y\"");
	evaluator.unreadable.clear();
	insert(11, "\"x\"");
	EXPECT_EQ(read(client), "reset:a transaction:11");
	EXPECT_EQ(read(other), "transaction:10");
	// Who comes later over the same entry is told too.
	Client& later = connect();
	subscribe(later, "a", "items", R"(,"where":"v=\"x\"","since":"e-0-w")");
	read(later);
	judge();
	EXPECT_EQ(read(later), "reset:a");
	insert(12, "\"x\"");
	EXPECT_EQ(read(later), "transaction:12");
}

TEST_F(Unjudged, WhatIsCaughtUpOnAndCannotBeReadResetsOnlyWhoCatchesUp)
{
	insert(10, "\"x\"");
	insert(11, "\"x\"");
	Client &live = connect(), &resumes = connect();
	subscribe(live, "a", "items", R"(,"where":"v=\"x\"")");
	subscribe(resumes, "a", "items", R"(,"where":"v=\"x\"","since":"e-10")");
	EXPECT_EQ(read(resumes), "subscribed:a");
	evaluator.unreadable = "v=\"x\"";
	judge();
	evaluator.unreadable.clear();
	insert(12, "\"x\"");
	EXPECT_EQ(read(resumes), "reset:a transaction:12");
	EXPECT_EQ(read(live), "subscribed:a transaction:12");
}

// It would be told of changes with a gap before them; and it would go on behind what others are told, if the connection went
// before a reset that came after that.
TEST_F(Unjudged, WhatWaitsBehindWhatCannotBeReadDoesNotNameIt)
{
	insert(10, "\"x\"");
	insert(11, "\"x\"");
	Client& resumes = connect();
	subscribe(resumes, "b", "items");
	EXPECT_EQ(read(resumes), "subscribed:b");
	subscribe(resumes, "a", "items", R"(,"where":"v=\"x\"","since":"e-10")");
	insert(12, "\"x\"");
	EXPECT_EQ(read(resumes), "subscribed:a");
	evaluator.unreadable = "v=\"x\"";
	judge();
	evaluator.unreadable.clear();
	const std::string reset = frame(resumes), live = frame(resumes);
	EXPECT_NE(reset.find(R"({"type":"reset","id":"a")"), std::string::npos) << reset;
	EXPECT_NE(live.find(R"("xid":"12")"), std::string::npos) << live;
	EXPECT_NE(live.find(R"("ids":["b"])"), std::string::npos) << live;
	EXPECT_EQ(live.find(R"("ids":["a")"), std::string::npos) << live;
	insert(13, "\"x\"");
	EXPECT_EQ(read(resumes), "transaction:13");
}

TEST_F(Unjudged, WhatWaitsBehindWhatIsNotCaughtUpOnAnyMoreDoesNotNameIt)
{
	insert(10, "\"x\"");
	insert(11, "\"x\"");
	Client &one = connect(), &both = connect();
	subscribe(both, "b", "items", R"(,"events":["insert"])");
	EXPECT_EQ(read(both), "subscribed:b");
	for (Client* client : {&one, &both}) {
		subscribe(*client, "a", "items", R"(,"since":"e-10")");
		insert(12, "\"x\"");
		ask(*client, R"({"type":"unsubscribe","id":"a"})");
		insert(13, "\"x\"");
	}
	EXPECT_EQ(read(one), "subscribed:a unsubscribed:a");
	std::string all;
	for (std::string text = frame(both); !text.empty(); text = frame(both))
		all += text;
	EXPECT_EQ(all.find(R"(["a")"), std::string::npos) << all;
	for (const char* due : {R"("xid":"12")", R"("xid":"13")", R"("ids":["b"])", R"("unsubscribed")"})
		EXPECT_NE(all.find(due), std::string::npos) << all;
}

TEST_F(Unjudged, WhatCannotBeJudgedAgainForWhoCatchesUpHoldsNobodyElseUp)
{
	insert(10, "\"x\"");
	insert(11, "\"x\"");
	Client &live = connect(), &resumes = connect();
	subscribe(live, "a", "items", R"(,"where":"v=\"x\"")");
	subscribe(resumes, "a", "items", R"(,"where":"v=\"x\"","since":"e-10")");
	read(live);
	read(resumes);
	evaluator.throws = true;
	for (int i = 0; i < 11; ++i)
		EXPECT_THROW(judge(), std::runtime_error);
	evaluator.throws = false;
	insert(12, "\"x\"");
	EXPECT_EQ(read(resumes), "reset:a transaction:12");
	EXPECT_EQ(read(live), "transaction:12");
}

TEST_F(Unjudged, WhatIsTooMuchToJudgeLosesNobodyElseAnything)
{
	HubLimits small = limits();
	small.log.memory = 4096;
	hub.set_limits(small);
	std::vector<std::string> notices;
	hub.set_notice_sink([&](const std::string& channel, std::string&&) { notices.push_back(channel); });
	Shape told = items;
	told.notify = "told";
	told.derive();
	Client &filtered = connect(), &unfiltered = connect(), &hears = connect();
	subscribe(filtered, "a", "items", R"(,"where":"v=\"x\"")");
	subscribe(unfiltered, "a", "items");
	subscribe_channel(hears, "a", "jobs");
	for (Client* client : {&filtered, &unfiltered, &hears})
		read(*client);
	for (uint64_t xid = 10; xid < 14; ++xid) {
		Body body;
		const uint32_t shape = body.shape(told);
		body.row(Tag::insert, shape, {"1", "\"x\""}).message("jobs", "1");
		body.row(Tag::insert, shape, {"2", "\"" + std::string(2000, 's') + "\""});
		deliver(xid, body);
	}
	judge();
	EXPECT_EQ(read(hears), "transaction:10 transaction:11 transaction:12 transaction:13");
	EXPECT_EQ(notices.size(), 8u);
	EXPECT_EQ(read(unfiltered), "transaction:10 transaction:11 transaction:12 transaction:13");
	EXPECT_TRUE(read(filtered).starts_with("reset:a"));
	// What was not judged is judged for who catches up on it.
	Client& later = connect();
	subscribe(later, "a", "items", R"(,"where":"v=\"x\"","since":"e-10")");
	read(later);
	judge();
	EXPECT_EQ(read(later), "transaction:11 transaction:12 transaction:13");
}

TEST_F(Unjudged, WhatALockedTableHoldsUpIsToldWhenItIsFree)
{
	Client& client = connect();
	subscribe(client, "a", "items", R"(,"where":"v=\"x\"")");
	read(client);
	evaluator.locked_from = 0;
	insert(10, "\"x\"");
	EXPECT_EQ(read(client), "");
	EXPECT_TRUE(hub.waits_for_lock());
	EXPECT_FALSE(hub.has_to_judge());
	// Who asks meanwhile is answered, and sees what is still to come.
	Client& other = connect();
	subscribe(other, "b", "items", R"(,"where":"v=\"x\"")");
	EXPECT_EQ(read(other), "subscribed:b");
	unlock();
	insert(11, "\"x\"");
	EXPECT_EQ(read(client), "transaction:10 transaction:11");
	EXPECT_EQ(read(other), "transaction:10 transaction:11");
}

TEST_F(Unjudged, ATransactionThatALockInterruptsGoesOnWhereItStood)
{
	Client& client = connect();
	subscribe(client, "a", "items", R"(,"where":"v=\"x\"")");
	read(client);
	Body body;
	const uint32_t shape = body.shape(items);
	body.row(Tag::insert, shape, {"1", "\"x\""}).row(Tag::insert, shape, {"2", "\"x\""});
	evaluator.locked_from = 1;
	deliver(10, body);
	judge();
	EXPECT_EQ(evaluator.evaluated, 1);
	EXPECT_EQ(read(client), "");
	// A new condition would see its second half only.
	Client& other = connect();
	subscribe(other, "b", "items", R"(,"where":"v=\"y\"")");
	EXPECT_EQ(read(other), "");
	EXPECT_FALSE(hub.has_requests_now());
	unlock();
	judge();
	EXPECT_EQ(evaluator.evaluated, 2);
	EXPECT_EQ(read(client), "transaction:10");
	hub.process_requests(steady_clock::time_point::max());
	EXPECT_EQ(read(other), "subscribed:b");
}

}  // namespace
}  // namespace plank::core
