// Subscriptions that go on where earlier ones ended: from the log, and by a pass over the past.
#include "core/hub.hpp"

#include <gtest/gtest.h>

#include "hub_fakes.hpp"

namespace plank::core {
namespace {

using test::Body;

class Resume : public test::HubFixture {
 protected:
	Shape items = table(1, "items");

	void resume(Client& client, const std::string& id, const std::string& since, const std::string& table = "items")
	{
		subscribe(client, id, table, ",\"since\":\"" + since + "\"");
	}
	Transaction transaction(uint64_t xid, const Shape& shape)
	{
		Body body;
		body.row(Tag::insert, body.shape(shape), {"1", "\"x\""});
		return std::move(*body.transaction(xid, shapes, now));
	}
	uint64_t only_ticket()
	{
		EXPECT_EQ(past.wanted.size(), 1u);
		return past.wanted.begin()->first;
	}
	// A stream whose log begins at xid 100, and a client that was at 50.
	Client& returning()
	{
		past.replays = true;
		hub.begin_stream(100, "e-100");
		deliver_row(101, items);
		Client& client = connect();
		resume(client, "a", "e-50");
		EXPECT_EQ(read(client), "");
		return client;
	}
};

TEST_F(Resume, FromTheLogComesWhatTheClientMissedAndThenTheRest)
{
	for (uint64_t xid = 10; xid < 15; ++xid)
		deliver_row(xid, items);
	Client& client = connect();
	resume(client, "a", "e-12");
	deliver_row(15, items);
	EXPECT_EQ(
	    frame(client),
	    R"({"type":"subscribed","id":"a","table":"public.items","key":["id"],"columns":[{"name":"id","type":"integer"},{"name":"v","type":"text"}],"position":"e-12","resumed":true})");
	EXPECT_EQ(read(client), "transaction:13 transaction:14 transaction:15");
	EXPECT_EQ(hub.counters().resumed_from_log, 1u);
}

TEST_F(Resume, WhatWasMissedNamesItsSubscriptionAlone)
{
	deliver_row(10, items);
	Client& client = connect();
	subscribe(client, "b", "items");
	deliver_row(11, items);
	resume(client, "a", "e-10");
	deliver_row(12, items);
	std::string all;
	for (std::string next = frame(client); !next.empty(); next = frame(client))
		all += next;
	EXPECT_NE(all.find(R"("xid":"11","committed_at":"2000-01-01T00:00:00.000000Z","changes":[{"ids":["b"])"),
	          std::string::npos);
	EXPECT_NE(
	    all.find(R"("xid":"11","committed_at":"2000-01-01T00:00:00.000000Z","catchup":"a","changes":[{"ids":["a"])"),
	    std::string::npos);
	EXPECT_NE(all.find(R"("xid":"12","committed_at":"2000-01-01T00:00:00.000000Z","changes":[{"ids":["b","a"])"),
	          std::string::npos);
}

TEST_F(Resume, FromTheNewestPositionNothingIsMissed)
{
	Client& client = connect();
	resume(client, "a", "e-0-w");
	deliver_row(10, items);
	resume(client, "b", "e-10");
	EXPECT_EQ(read(client), "subscribed:a transaction:10 subscribed:b");
}

TEST_F(Resume, APositionThatCannotBeProvenGivesReset)
{
	deliver_row(10, items);
	Client& client = connect();
	resume(client, "a", "f-10");   // another server start
	resume(client, "b", "e-9");    // never heard of
	resume(client, "c", "e-0-x");  // another worker's beginning
	EXPECT_EQ(frame(client).substr(0, 40), R"([{"type":"subscribed","id":"a","table":")");
	resume(client, "d", "nonsense");
	resume(client, "e", "e-1-w");
	EXPECT_EQ(read(client), "error:d:22023 error:e:22023");
	EXPECT_EQ(hub.counters().resets_resume, 3u);
	EXPECT_EQ(hub.counters().subscriptions, 3u);
}

TEST_F(Resume, AResetOnTheWayIsToldAgain)
{
	deliver_row(10, items);
	hub.reset_all("lost");
	deliver_row(11, items);
	Client& client = connect();
	resume(client, "a", "e-10");
	EXPECT_EQ(read(client), "subscribed:a reset:a transaction:11");
}

TEST_F(Resume, ShapesAreToldAsTheyWereThen)
{
	deliver_row(10, items);
	deliver_row(11, items);
	const Shape wider = add_column("items");
	Body body;
	body.row(Tag::insert, body.shape(wider), {"1", "\"x\"", "\"y\""});
	deliver(12, body);
	Client& client = connect();
	resume(client, "a", "e-10");
	EXPECT_EQ(frame(client).find("\"c2\""), std::string::npos);
	EXPECT_EQ(read(client), "transaction:11 subscribed:a transaction:12");
}

// They cannot be found by it any more.
TEST_F(Resume, RowsWithoutTheColumnsOfANewKeyAreVoid)
{
	Shape rekeyed = add_column("items");
	Client& client = connect();
	subscribe(client, "all", "items");
	subscribe(client, "without", "items", R"(,"columns":["v"])");
	Client& with = connect();
	subscribe(with, "with", "items", R"(,"columns":["c2"])");
	read(client);
	read(with);
	rekeyed.key = {2};
	rekeyed.derive();
	Body body;
	body.row(Tag::insert, body.shape(rekeyed), {"1", "\"x\"", "\"k\""});
	deliver(10, body);
	EXPECT_EQ(read(client), "subscribed:all subscribed:without reset:without transaction:10");
	EXPECT_EQ(read(with), "subscribed:with transaction:10");
	EXPECT_EQ(hub.counters().resets_ddl, 1u);
	rekeyed.columns.push_back({"c3", "text"});
	rekeyed.key = {3};
	rekeyed.derive();
	Body second;
	second.row(Tag::insert, second.shape(rekeyed), {"1", "\"x\"", "\"k\"", "\"l\""});
	deliver(11, second);
	EXPECT_EQ(read(client), "subscribed:all subscribed:without reset:all reset:without transaction:11")
	    << "not captured";
	EXPECT_EQ(read(with), "subscribed:with reset:with transaction:11");
	Client& back = connect();
	subscribe(back, "a", "items", R"(,"snapshot":true,"columns":["v"],"since":"e-0-w")");
	EXPECT_EQ(read(back), "subscribed:a reset:a");
}

TEST_F(Resume, ManyThatComeBackTogetherShareTheirFrames)
{
	for (uint64_t xid = 10; xid < 20; ++xid)
		deliver_row(xid, items);
	std::vector<Client*> all;
	for (int i = 0; i < 10; ++i) {
		all.push_back(&connect());
		resume(*all.back(), "a", "e-12");
	}
	std::vector<FramePtr> frames;
	for (Client* client : all) {
		hub.next_frame(*client->session);  // subscribed
		frames.push_back(hub.next_frame(*client->session));
		ASSERT_TRUE(frames.back());
	}
	for (const FramePtr& frame : frames)
		EXPECT_EQ(frame, frames.front());
}

TEST_F(Resume, UnsubscribedWhileItCatchesUpHearsNoMore)
{
	deliver_row(10, items);
	deliver_row(11, items);
	Client& client = connect();
	resume(client, "a", "e-10");
	ask(client, R"({"type":"unsubscribe","id":"a"})");
	deliver_row(12, items);
	EXPECT_EQ(read(client), "subscribed:a unsubscribed:a");
}

TEST_F(Resume, ChannelsResumeTooButPlainNotifyDoesNot)
{
	Client& other = connect();
	subscribe_channel(other, "x", "jobs");
	deliver_row(10, items);
	Body body;
	body.message("jobs", "1");
	deliver(11, body);
	hub.deliver_notify("jobs", "plain");
	EXPECT_EQ(read(other), "subscribed:x transaction:11 transaction");
	Client& client = connect();
	ask(client, R"({"type":"subscribe","id":"a","channel":"jobs","since":"e-10"})");
	EXPECT_EQ(read(client), "subscribed:a transaction:11");
}

// --- A pass over the past ------------------------------------------------------------------------------------------

TEST_F(Resume, APassBringsWhatHasLeftTheLog)
{
	Client& client = returning();
	deliver_row(102, items);
	EXPECT_EQ(read(client), "") << "all waits for the past";
	hub.replay_begun();
	EXPECT_TRUE(hub.replay_passed(40));
	hub.replay_verified(only_ticket());
	EXPECT_TRUE(hub.replay_passed(50));
	EXPECT_EQ(read(client), "subscribed:a");
	hub.replay(transaction(60, items));
	EXPECT_TRUE(hub.replay_passed(60));
	EXPECT_EQ(read(client), "transaction:60");
	hub.replay(transaction(70, items));
	EXPECT_FALSE(hub.replay_passed(100)) << "from here on the log has everything";
	hub.replay_ended();
	EXPECT_EQ(read(client), "transaction:70 transaction:101 transaction:102");
	EXPECT_TRUE(past.wanted.empty());
	deliver_row(103, items);
	EXPECT_EQ(read(client), "transaction:103");
}

TEST_F(Resume, APassGoesOnWhenTheLogHasMovedOn)
{
	Client& client = returning();
	hub.replay_begun();
	hub.replay_verified(only_ticket());
	EXPECT_TRUE(hub.replay_passed(50));
	// Nobody who is live needs the past, so a small log forgets 101.
	HubLimits small = limits();
	small.log.memory = 1;
	hub.set_limits(small);
	for (uint64_t xid = 102; xid < 110; ++xid)
		deliver_row(xid, items);
	hub.replay(transaction(101, items));
	EXPECT_FALSE(hub.replay_passed(101)) << "its live stream begins here";
	hub.replay_ended();
	EXPECT_EQ(read(client),
	          "subscribed:a transaction:101 transaction:102 transaction:103 transaction:104 transaction:105 "
	          "transaction:106 transaction:107 transaction:108 transaction:109");
}

TEST_F(Resume, ARefusedPositionGivesReset)
{
	Client& client = returning();
	deliver_row(102, items);
	hub.replay_begun();
	hub.replay_refused(only_ticket(), "it is not there");
	EXPECT_EQ(read(client), "subscribed:a reset:a transaction:102");
	EXPECT_FALSE(hub.replay_passed(100));
	EXPECT_EQ(hub.counters().resets_resume, 1u);
}

TEST_F(Resume, ABrokenPassGivesResetAfterWhatItBrought)
{
	Client& client = returning();
	deliver_row(102, items);
	hub.replay_begun();
	hub.replay_verified(only_ticket());
	hub.replay(transaction(60, items));
	hub.replay_broken("recycled");
	hub.replay_ended();
	EXPECT_EQ(read(client), "subscribed:a transaction:60 reset:a transaction:102");
}

// It holds nothing from there on, and must not be told a place that it could go on from without the rows.
TEST_F(Resume, AResetEndsAPassForWhoeverGetsTheRowsAgain)
{
	past.replays = true;
	hub.begin_stream(100, "e-100");
	deliver_row(101, items);
	Client& client = connect();
	subscribe(client, "a", "items", R"(,"snapshot":true,"since":"e-50")");
	const uint64_t its = only_ticket();
	Client& other = connect();
	resume(other, "z", "e-50");
	hub.replay_begun();
	hub.replay_verified(its);
	hub.replay_verified(past.wanted.rbegin()->first);
	hub.replay(transaction(60, items));
	EXPECT_EQ(read(client), "subscribed:a transaction:60");
	Body rewritten;
	rewritten.reset(items.relation, "rewritten");
	hub.replay(std::move(*rewritten.transaction(61, shapes, now)));
	hub.replay(transaction(62, items));
	EXPECT_EQ(read(client), "reset:a");
	EXPECT_EQ(snapshots.wanted.size(), 1u) << "its rows are read";
	EXPECT_TRUE(hub.replay_passed(62)) << "the other one needs more";
	EXPECT_FALSE(hub.replay_passed(100));
	hub.replay_ended();
	EXPECT_EQ(read(other), "subscribed:z transaction:60 reset:z transaction:62 transaction:101");
}

TEST_F(Resume, AResetBehindAPassIsNotLedUpTo)
{
	past.replays = true;
	hub.begin_stream(100, "e-100");
	deliver_row(101, items);
	hub.reset_all("lost");
	Client& client = connect();
	subscribe(client, "a", "items", R"(,"snapshot":true,"since":"e-50")");
	hub.replay_begun();
	hub.replay_verified(only_ticket());
	EXPECT_FALSE(hub.replay_passed(100));
	hub.replay_ended();
	EXPECT_EQ(read(client), "subscribed:a reset:a");
	EXPECT_EQ(snapshots.wanted.size(), 1u);
}

TEST_F(Resume, ClientsJoinAPassWhereItStandsAndHearNothingTwice)
{
	Client& first = returning();
	Client& second = connect();
	resume(second, "z", "e-60");
	ASSERT_EQ(past.wanted.size(), 2u);
	const uint64_t one = past.wanted.begin()->first, two = past.wanted.rbegin()->first;
	hub.replay_begun();
	hub.replay_verified(one);
	hub.replay(transaction(60, items));
	hub.replay_verified(two);
	hub.replay(transaction(70, items));
	EXPECT_FALSE(hub.replay_passed(100));
	hub.replay_ended();
	EXPECT_EQ(read(first), "subscribed:a transaction:60 transaction:70 transaction:101");
	EXPECT_EQ(read(second), "subscribed:z transaction:70 transaction:101");
}

TEST_F(Resume, ShapesOfAPassAreToldWhereTheyChange)
{
	Shape before = items;
	before.columns.pop_back();
	before.derive();
	Client& client = returning();
	hub.replay_begun();
	hub.replay_verified(only_ticket());
	Body body;
	body.row(Tag::insert, body.shape(before), {"1"});
	hub.replay(std::move(*body.transaction(60, shapes, now)));
	EXPECT_FALSE(hub.replay_passed(100));
	hub.replay_ended();
	EXPECT_EQ(read(client), "subscribed:a subscribed:a transaction:60 subscribed:a transaction:101");
}

TEST_F(Resume, AClientThatGoesIsForgotten)
{
	Client& client = returning();
	hub.replay_begun();
	hub.replay_verified(only_ticket());
	hub.replay(transaction(60, items));
	hub.close(*client.session);
	EXPECT_TRUE(past.wanted.empty());
	EXPECT_FALSE(hub.replay_passed(100));
	hub.replay(transaction(70, items));
	hub.replay_ended();
}

// What the pass brings later wakes only who still waits for it.
TEST_F(Resume, AClientThatWasIdleAndLeavesAPassIsNotWokenByIt)
{
	Client& gone = returning();
	const uint64_t first = only_ticket();
	Client& unsubscribed = connect();
	resume(unsubscribed, "a", "e-50");
	// Nobody needs these, so a small log forgets them.
	HubLimits small = limits();
	small.log.memory = 1;
	hub.set_limits(small);
	const Shape others = table(2, "others");
	deliver_row(102, others);
	deliver_row(103, others);
	hub.trim();
	Client& stays = connect();
	resume(stays, "a", "e-50");
	hub.replay_begun();
	for (const auto& [ticket, position] : std::map(past.wanted))
		hub.replay_verified(ticket);
	hub.replay(transaction(60, items));
	EXPECT_TRUE(hub.replay_passed(60));
	for (Client* client : {&gone, &unsubscribed, &stays})
		EXPECT_EQ(read(*client), "subscribed:a transaction:60");
	ask(unsubscribed, R"({"type":"unsubscribe","id":"a"})");
	EXPECT_EQ(read(unsubscribed), "unsubscribed:a");
	EXPECT_FALSE(past.wanted.contains(first + 1));
	hub.close(*unsubscribed.session);
	EXPECT_TRUE(past.wanted.contains(first));
	EXPECT_TRUE(hub.replay_passed(101)) << "where the first one's live stream begins";
	EXPECT_FALSE(past.wanted.contains(first));
	EXPECT_EQ(read(gone), "");
	hub.close(*gone.session);
	hub.replay(transaction(102, items));
	EXPECT_EQ(read(stays), "transaction:102");
}

TEST_F(Resume, UnsubscribedBeforeThePassItIsToldSoAndNothingElse)
{
	Client& client = returning();
	ask(client, R"({"type":"unsubscribe","id":"a"})");
	EXPECT_TRUE(past.wanted.empty());
	EXPECT_EQ(read(client), "unsubscribed:a");
}

TEST_F(Resume, WhatIsNotReadHoldsThePassUp)
{
	HubLimits small = limits();
	small.replay = 20'000;
	hub.set_limits(small);
	Client& client = returning();
	hub.replay_begun();
	hub.replay_verified(only_ticket());
	uint64_t xid = 51;
	for (; !hub.replay_is_full(); ++xid)
		hub.replay(transaction(xid, items));
	EXPECT_LT(xid, 100u);
	hub.trim();
	EXPECT_TRUE(hub.replay_is_full());
	read(client);
	hub.trim();
	EXPECT_FALSE(hub.replay_is_full());
}

}  // namespace
}  // namespace plank::core
