// The hub's rules one by one; hub_model_test.cpp tries them all at random.
#include "core/hub.hpp"

#include <gtest/gtest.h>

#include "hub_fakes.hpp"

namespace plank::core {
namespace {

using test::Body;
using Hub = test::HubFixture;

TEST_F(Hub, TransactionsComeAfterSubscribedAndNotAfterUnsubscribed)
{
	const Shape items = table(1, "items");
	Client& client = connect();
	deliver_row(10, items);
	subscribe(client, "a", "items");
	deliver_row(11, items);
	ask(client, R"({"type":"unsubscribe","id":"a"})");
	deliver_row(12, items);
	EXPECT_EQ(read(client), "subscribed:a transaction:11 unsubscribed:a");
}

TEST_F(Hub, AnswersKeepTheOrderOfQuestions)
{
	table(1, "items");
	Client& client = connect();
	for (const char* text :
	     {R"({"type":"subscribe","id":"a","table":"items"})", R"({"type":"ping","id":"p"})", "nonsense",
	      R"({"type":"unsubscribe","id":"zz"})", R"({"type":"subscribe","id":"a","table":"items"})",
	      R"({"type":"subscribe","id":"b","table":"nowhere"})", R"({"type":"unsubscribe","id":"a"})",
	      R"({"type":"tables","id":"t"})"})
		hub.receive(*client.session, text);
	answer();
	EXPECT_EQ(read(client),
	          "subscribed:a pong:p error:08P01 error:zz:22023 error:a:22023 error:b:42P01 unsubscribed:a tables:t");
	EXPECT_EQ(hub.counters().errors, 4u);
}

TEST_F(Hub, APingIsAnsweredWithoutTheCatalog)
{
	Client& client = connect();
	hub.receive(*client.session, R"({"type":"ping"})");
	EXPECT_EQ(read(client), "pong");
}

TEST_F(Hub, RefusalsCarryTheirCodes)
{
	table(1, "mine");
	table(2, "secret");
	catalog.tables["public.secret"].access["web"] = Access::key_hidden;
	catalog.hidden_channels.insert({"web", "hidden"});
	Client& client = connect();
	subscribe(client, "a", "other");
	subscribe(client, "b", "secret");
	subscribe(client, "c", "a.b.c");
	subscribe_channel(client, "d", "hidden");
	subscribe_channel(client, "e", std::string(64, 'x'));
	catalog.tables["public.mine"].access["web"] = Access::failed;
	subscribe(client, "f", "mine");
	EXPECT_EQ(read(client), "error:a:42P01 error:b:0A000 error:c:22023 error:d:42501 error:e:42501 error:f:XX000");
	EXPECT_EQ(hub.counters().subscriptions, 0u);
	EXPECT_FALSE(hub.anybody_watches(1));
}

TEST_F(Hub, AbsentAndUnreadableTablesGetTheSameAnswer)
{
	table(1, "mine");
	catalog.tables["public.mine"].access["web"] = Access::absent;
	Client& client = connect();
	subscribe(client, "a", "mine");
	const std::string unreadable = frame(client);
	subscribe(client, "a", "nowhere");
	EXPECT_EQ(frame(client), unreadable);
}

TEST_F(Hub, WithoutARoleOnlyPingsAreAnswered)
{
	table(1, "items");
	Client& client = connect("");
	subscribe(client, "a", "items");
	ask(client, R"({"type":"ping"})");
	ask(client, R"({"type":"tables","id":"t"})");
	EXPECT_EQ(read(client), "error:a:28000 pong error:t:28000");
	now = 9'999'999;
	hub.close_unauthenticated();
	EXPECT_EQ(client.link.closed, 0);
	now = 10'000'000;
	hub.close_unauthenticated();
	EXPECT_EQ(client.link.closed, 4001);
	EXPECT_TRUE(client.link.drains);
}

TEST_F(Hub, SubscriptionsAreLimitedPerConnection)
{
	table(1, "items");
	HubLimits two = limits();
	two.max_subscriptions = 2;
	hub.set_limits(two);
	Client& client = connect();
	subscribe(client, "a", "items");
	subscribe(client, "b", "items");
	subscribe(client, "c", "items");
	ask(client, R"({"type":"unsubscribe","id":"a"})");
	subscribe(client, "d", "items");
	EXPECT_EQ(read(client), "subscribed:a subscribed:b error:c:53400 unsubscribed:a subscribed:d");
	EXPECT_EQ(hub.counters().subscriptions, 2u);
}

// --- Shapes --------------------------------------------------------------------------------------------------------

TEST_F(Hub, ANewShapeIsToldBeforeItsFirstChange)
{
	const Shape items = table(1, "items");
	Client& client = connect();
	subscribe(client, "a", "items");
	deliver_row(10, items);
	const Shape changed = add_column("items");
	Body body;
	body.row(Tag::insert, body.shape(changed), {"1", "", ""});
	deliver(11, body);
	EXPECT_EQ(read(client), "subscribed:a transaction:10 subscribed:a transaction:11");
	look();
	EXPECT_EQ(read(client), "");
}

// Another client's subscription finds the new shape in the turn in which one client subscribes and one leaves.
TEST_F(Hub, AShapeFoundInTheSameTurnReachesWhoHasJustSubscribedAndNotWhoHasJustLeft)
{
	table(1, "items");
	Client &comes = connect(), &leaves = connect(), &finds = connect();
	subscribe(leaves, "a", "items");
	hub.receive(*comes.session, R"({"type":"subscribe","id":"a","table":"items"})");
	hub.receive(*leaves.session, R"({"type":"unsubscribe","id":"a"})");
	hub.receive(*finds.session, R"({"type":"subscribe","id":"a","table":"items"})");
	int look_ups = 0;
	catalog.before_find = [&] {
		if (++look_ups == 2) add_column("items");
	};
	answer();
	EXPECT_EQ(read(comes), "subscribed:a subscribed:a");
	EXPECT_EQ(read(leaves), "subscribed:a unsubscribed:a");
	EXPECT_EQ(read(finds), "subscribed:a");
}

// The shape that subscribers were told is known as long as one of them is there, whoever comes and goes.
TEST_F(Hub, AShapeIsRememberedWhileSubscribersChangePlaces)
{
	const Shape items = table(1, "items");
	Client &first = connect(), &second = connect();
	subscribe(first, "a", "items");
	hub.receive(*second.session, R"({"type":"subscribe","id":"a","table":"items"})");
	hub.receive(*first.session, R"({"type":"unsubscribe","id":"a"})");
	hub.process_requests(std::chrono::steady_clock::time_point::max());
	subscribe(first, "b", "items");
	hub.close(*second.session);
	const Shape changed = add_column("items");
	look();
	EXPECT_EQ(read(first), "subscribed:a unsubscribed:a subscribed:b subscribed:b");
}

TEST_F(Hub, ATableThatIsGoneEndsItsSubscriptions)
{
	const Shape items = table(1, "items"), others = table(2, "others");
	Client &web = connect("web"), &app = connect("app");
	subscribe(web, "a", "items");
	subscribe(web, "b", "others");
	subscribe_channel(web, "c", "jobs");
	subscribe(app, "a", "items");
	read(web);
	read(app);
	catalog.tables["public.items"].access["web"] = Access::busy;
	look();
	catalog.tables["public.items"].access["web"] = Access::failed;
	look();
	EXPECT_EQ(read(web), "");
	deliver_row(10, items);
	catalog.tables["public.items"].access["web"] = Access::absent;
	catalog.tables["public.others"].access["web"] = Access::key_hidden;
	catalog.hidden_channels.insert({"web", "jobs"});
	look();
	deliver_row(11, items);
	EXPECT_EQ(read(web), "transaction:10 unsubscribed:a:42P01 unsubscribed:b:0A000 unsubscribed:c:42501");
	EXPECT_EQ(read(app), "transaction:10 transaction:11");
	EXPECT_FALSE(hub.anybody_watches(2));
	EXPECT_TRUE(hub.anybody_watches(1));
}

// --- Resets --------------------------------------------------------------------------------------------------------

TEST_F(Hub, ResetsFollowTheirTransactionAndConcernTheirTable)
{
	const Shape items = table(1, "items"), others = table(2, "others");
	Client& client = connect();
	subscribe(client, "a", "items");
	subscribe(client, "b", "others");
	subscribe_channel(client, "c", "jobs");
	read(client);
	Body body;
	body.row(Tag::insert, body.shape(items), {"1", ""}).reset(1, "partition attached").reset(1, "again");
	deliver(10, body);
	EXPECT_EQ(read(client), "transaction:10 reset:a");
	deliver(11, Body().lost({1, 2}));
	EXPECT_EQ(read(client), "reset:a reset:b");
	deliver(12, Body().lost({}).reset(2, "too"));
	EXPECT_EQ(read(client), "reset:a reset:b");
	hub.reset_all("lost");
	EXPECT_EQ(read(client), "reset:a reset:b");
}

// --- Channels ------------------------------------------------------------------------------------------------------

TEST_F(Hub, APlainNotifyIsATransactionWithoutXid)
{
	Client &hears = connect(), &other = connect();
	subscribe_channel(hears, "a", "jobs");
	subscribe_channel(other, "a", "jobs2");
	read(hears);
	read(other);
	now = 1;
	hub.deliver_notify("jobs", "say \"hi\"");
	EXPECT_EQ(
	    frame(hears),
	    R"({"type":"transaction","xid":null,"committed_at":"2000-01-01T00:00:00.000001Z","changes":[{"ids":["a"],"channel":"jobs","op":"message","payload":"say \"hi\""}],"more":false,"position":"e-0-w"})");
	EXPECT_EQ(frame(other), "");
	EXPECT_EQ(hub.counters().messages, 1u);
}

TEST_F(Hub, ANotifyThatNobodyHearsTakesNoPlaceInTheLog)
{
	const uint64_t end = hub.log().end();
	hub.deliver_notify("jobs", "x");
	EXPECT_EQ(hub.log().end(), end);
}

TEST_F(Hub, ChannelsAndTablesOfOneTransactionAreOneMessageInOrder)
{
	const Shape items = table(1, "items");
	Client& client = connect();
	subscribe(client, "a", "items");
	subscribe_channel(client, "b", "jobs");
	read(client);
	Body body;
	body.message("jobs", "{\"n\":1}")
	    .row(Tag::insert, body.shape(items), {"1", "\"x\""})
	    .message("else", "2")
	    .message("jobs", "3");
	deliver(7, body);
	EXPECT_EQ(
	    frame(client),
	    R"({"type":"transaction","xid":"7","committed_at":"2000-01-01T00:00:00.000000Z","changes":[{"ids":["b"],"channel":"jobs","op":"message","payload":{"n":1}},{"ids":["a"],"table":"public.items","op":"insert","key":{"id":1},"new":{"id":1,"v":"x"}},{"ids":["b"],"channel":"jobs","op":"message","payload":3}],"more":false,"position":"e-7"})");
}

TEST_F(Hub, PublicNoticesHoldTheChangeOrSayThatItWasCut)
{
	const Shape items = table(1, "items", "public_items");
	std::vector<std::string> told;
	hub.set_notice_sink(
	    [&](const std::string& channel, std::string&& payload) { told.push_back(channel + " " + payload); });
	deliver_row(7, items);
	deliver_row(8, items, "\"" + std::string(9000, 'x') + "\"");
	Body body;
	const uint32_t shape = body.shape(items);
	body.truncate(shape).row(Tag::insert, shape, {"\"" + std::string(9000, 'x') + "\"", ""});
	deliver(9, body);
	EXPECT_EQ(told, (std::vector<std::string>{
	                    R"(public_items {"table":"public.items","op":"insert","key":{"id":1},"new":{"id":1,"v":"x"}})",
	                    R"(public_items {"table":"public.items","op":"insert","key":{"id":1},"truncated":true})",
	                    R"(public_items {"table":"public.items","op":"truncate"})",
	                    R"(public_items {"table":"public.items","op":"insert","key":null,"truncated":true})"}));
}

// --- Sessions ------------------------------------------------------------------------------------------------------

TEST_F(Hub, SessionsWithEqualSubscriptionsShareOneFrame)
{
	const Shape items = table(1, "items");
	Client &first = connect(), &second = connect();
	for (Client* client : {&first, &second}) {
		subscribe(*client, "a", "items");
		read(*client);
	}
	deliver_row(10, items);
	const FramePtr one = hub.next_frame(*first.session), two = hub.next_frame(*second.session);
	ASSERT_TRUE(one);
	EXPECT_EQ(one, two);
}

TEST_F(Hub, AFrameLargerThanTheCacheIsStillShared)
{
	HubLimits small = limits();
	small.log.memory = 1 << 20;
	hub.set_limits(small);
	const Shape items = table(1, "items");
	Client &first = connect(), &second = connect();
	for (Client* client : {&first, &second}) {
		subscribe(*client, "a", "items");
		read(*client);
	}
	deliver_row(10, items, "\"" + std::string(600'000, 'x') + "\"");
	const std::weak_ptr<const Frame> one = hub.next_frame(*first.session);
	EXPECT_EQ(one.lock(), hub.next_frame(*second.session));
	EXPECT_FALSE(one.expired());
}

TEST_F(Hub, PositionsGoToWhoHasTakenEverything)
{
	const Shape items = table(1, "items");
	Client &idle = connect(), &busy = connect(), &nothing = connect();
	subscribe(idle, "a", "items");
	subscribe(busy, "b", "items");
	read(idle);
	deliver_row(10, items);
	read(idle);
	hub.send_positions();
	hub.send_positions();
	EXPECT_EQ(frame(idle), R"({"type":"position","position":"e-10"})");
	EXPECT_EQ(read(idle), "");
	EXPECT_EQ(read(busy), "subscribed:b transaction:10");
	EXPECT_EQ(read(nothing), "");
}

TEST_F(Hub, ARoleThatEndsTakesItsSessionsWithIt)
{
	const Shape items = table(1, "items");
	Client &web = connect("web"), &app = connect("app");
	subscribe(web, "a", "items");
	subscribe(web, "b", "items");
	subscribe(app, "a", "items");
	read(web);
	read(app);
	deliver_row(10, items);
	hub.end_identities([](const Identity& identity) { return identity.role == "web" ? "gone" : nullptr; });
	hub.begin_turn(std::chrono::steady_clock::time_point::min());
	deliver_row(11, items);
	EXPECT_EQ(web.link.closed, 4001);
	EXPECT_EQ(read(web), "transaction:10 unsubscribed:a:28000 unsubscribed:b:28000");
	ask(web, R"({"type":"ping"})");
	EXPECT_EQ(read(web), "");
	hub.begin_turn(std::chrono::steady_clock::time_point::max());
	EXPECT_EQ(read(app), "transaction:10 transaction:11");
	hub.close(*web.session);
	EXPECT_EQ(hub.counters().subscriptions, 1u);
	EXPECT_EQ(hub.sessions(), 1u);
}

TEST_F(Hub, ABusyTableIsAskedForAgainAndOthersDoNotWait)
{
	table(1, "items");
	catalog.tables["public.items"].access["web"] = Access::busy;
	Client &waits = connect("web"), &other = connect("app");
	hub.receive(*waits.session, R"({"type":"subscribe","id":"a","table":"items"})");
	hub.receive(*waits.session, R"({"type":"ping"})");
	hub.receive(*other.session, R"({"type":"subscribe","id":"a","table":"items"})");
	answer();
	EXPECT_EQ(read(waits), "");
	EXPECT_EQ(read(other), "subscribed:a");
	EXPECT_TRUE(hub.has_requests());
	EXPECT_TRUE(hub.has_delayed_requests());
	catalog.tables["public.items"].access.clear();
	while (hub.has_requests())
		answer();
	EXPECT_EQ(read(waits), "subscribed:a pong");
}

TEST_F(Hub, ACatalogThatThrowsStrandsNobody)
{
	table(1, "items");
	Client& client = connect();
	hub.receive(*client.session, R"({"type":"subscribe","id":"a","table":"items"})");
	hub.receive(*client.session, R"({"type":"subscribe","id":"b","table":"items"})");
	catalog.throws = true;
	EXPECT_THROW(answer(), std::runtime_error);
	catalog.throws = false;
	answer();
	EXPECT_EQ(read(client), "error:a:XX000 subscribed:b");
}

TEST_F(Hub, AClosedSessionIsForgottenWhereverItWaits)
{
	table(1, "items");
	catalog.tables["public.items"].access["web"] = Access::busy;
	Client &later = connect("web"), &asking = connect("web"), &answered = connect("app");
	hub.receive(*later.session, R"({"type":"subscribe","id":"a","table":"items"})");
	answer();
	hub.receive(*asking.session, R"({"type":"tables"})");
	subscribe(answered, "a", "items");
	for (Client* client : {&later, &asking, &answered})
		hub.close(*client->session);
	EXPECT_FALSE(hub.has_requests());
	EXPECT_EQ(hub.sessions(), 0u);
	EXPECT_EQ(hub.counters().subscriptions, 0u);
	EXPECT_FALSE(hub.anybody_watches(1));
	deliver_row(10, *catalog.tables["public.items"].shape);
}

// --- Clients that do not read --------------------------------------------------------------------------------------

TEST_F(Hub, WhoDoesNotTakeItsAnswersIsNeitherReadFromNorAnswered)
{
	for (uint32_t i = 1; i <= 500; ++i)
		table(i, "table_with_a_long_name_" + std::to_string(i));
	Client& client = connect();
	size_t sent = 0;
	for (; sent < 10'000 && !client.link.paused; ++sent) {
		hub.receive(*client.session, R"({"type":"tables","id":"t"})");
		answer();
	}
	EXPECT_LT(sent, 50u);
	for (int i = 0; i < 20; ++i, ++sent)
		hub.receive(*client.session, R"({"type":"tables","id":"t"})");
	answer();
	EXPECT_LT(hub.waiting(*client.session), 512u * 1024);
	EXPECT_FALSE(hub.has_requests());
	std::string told = read(client);
	while (hub.has_requests()) {
		answer();
		told += " " + read(client);
	}
	EXPECT_EQ(static_cast<size_t>(std::count(told.begin(), told.end(), ':')), sent);
	EXPECT_FALSE(client.link.paused);
}

TEST_F(Hub, ManySmallAnswersPauseReadingToo)
{
	Client& client = connect();
	int sent = 0;
	while (!client.link.paused && sent < 10'000) {
		hub.receive(*client.session, R"({"type":"ping"})");
		++sent;
	}
	EXPECT_LT(sent, 1000);
	read(client);
	EXPECT_FALSE(client.link.paused);
}

TEST_F(Hub, RequestsThatPileUpPauseReadingUntilTheyAreAnswered)
{
	table(1, "items");
	Client& client = connect();
	for (int i = 0; i < 200; ++i)
		hub.receive(*client.session, R"({"type":"subscribe","id":")" + std::to_string(i) + R"(","table":"items"})");
	EXPECT_TRUE(client.link.paused);
	while (hub.has_requests()) {
		answer();
		read(client);
	}
	EXPECT_FALSE(client.link.paused);
	EXPECT_EQ(hub.counters().subscriptions, 200u);
}

TEST_F(Hub, AStarvedSessionGoesOnInTheNextTurnAndEachTurnGetsSomewhere)
{
	const Shape items = table(1, "items");
	Client &first = connect(), &second = connect();
	for (Client* client : {&first, &second}) {
		subscribe(*client, "a", "items");
		read(*client);
	}
	deliver_row(10, items);
	hub.begin_turn(std::chrono::steady_clock::time_point::min());
	EXPECT_EQ(read(first), "transaction:10");
	EXPECT_EQ(read(second), "");
	EXPECT_TRUE(hub.has_starved());
	EXPECT_FALSE(second.link.ready);
	hub.begin_turn(std::chrono::steady_clock::time_point::min());
	EXPECT_EQ(read(second), "transaction:10");
	EXPECT_FALSE(hub.has_starved());
}

// A frame made for a client whose stretch goes on may end within a transaction that another, who has unsubscribed before
// it, must not see.
TEST_F(Hub, ASharedFrameNeverReachesBeyondWhatWasPromised)
{
	const Shape items = table(1, "items");
	Client &stays = connect(), &leaves = connect(), &third = connect();
	for (Client* client : {&stays, &leaves, &third}) {
		subscribe(*client, "a", "items");
		read(*client);
	}
	deliver_row(10, items, "\"" + std::string(100'000, 'x') + "\"");
	ask(leaves, R"({"type":"unsubscribe","id":"a"})");
	Body large;
	const uint32_t shape = large.shape(items);
	for (int i = 0; i < 10; ++i)
		large.row(Tag::insert, shape, {std::to_string(i), "\"" + std::string(100'000, 'y') + "\""});
	deliver(11, large);
	EXPECT_EQ(read(stays), "transaction:10 transaction:11+ transaction:11+ transaction:11+ transaction:11");
	EXPECT_EQ(read(leaves), "transaction:10 unsubscribed:a");
	EXPECT_EQ(read(third), "transaction:10 transaction:11+ transaction:11+ transaction:11+ transaction:11");
}

}  // namespace
}  // namespace plank::core
