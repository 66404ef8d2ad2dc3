// What subscriptions may see, and that it changes under them: privileges on tables and columns, and row security.
#include "core/hub.hpp"

#include <gtest/gtest.h>

#include "hub_rights.hpp"

namespace plank::core {
namespace {

using std::chrono::steady_clock;
using test::Body;

// --- Columns -------------------------------------------------------------------------------------------------------

TEST_F(Rights, WithoutColumnsASubscriptionHasThoseThatItsRoleMayRead)
{
	allow("items", {"id", "v"});
	Client &client = connect(), &other = connect("app");
	subscribe(client, "a", "items", R"(,"snapshot":true)");
	subscribe(other, "a", "items");
	EXPECT_NE(all(other).find("secret"), std::string::npos);
	EXPECT_EQ(*snapshots.wanted.at(only_snapshot()).columns, (std::vector<std::string>{"id", "v"}));
	finish_snapshot(R"({"id":1,"v":"x"})");
	ask(client, R"({"type":"tables"})");
	insert(10, "\"x\"");
	update(11, {{1, "\"w\""}, {2, "\"s\""}});
	add_column("items");
	look();
	Body body;
	body.row(Tag::remove, body.shape(items), {"1", "\"x\"", "\"s\""})
	    .row(Tag::left, body.shape(items), {"2", "\"x\"", "\"s\""});
	deliver(12, body);
	const std::string told = all(client);
	EXPECT_EQ(told.find("secret"), std::string::npos) << told;
	EXPECT_EQ(told.find("\"s\""), std::string::npos) << told;
	EXPECT_NE(told.find(R"("new":{"id":1,"v":"x"},"old":{"id":1,"v":"w"})"), std::string::npos) << told;
	EXPECT_NE(told.find(R"("old":{"id":2,"v":"x"},"cause":"update")"), std::string::npos) << told;
}

TEST_F(Rights, AnUpdateOfColumnsThatASubscriptionHasNotIsNotToldOf)
{
	allow("items", {"id", "v"});
	Client &limited = connect(), &chooses = connect("app"), &whole = connect("app"), &filters = connect();
	subscribe(limited, "a", "items");
	subscribe(chooses, "a", "items", R"(,"columns":["v"])");
	subscribe(whole, "a", "items");
	subscribe(filters, "a", "items", R"(,"where":"v=\"x\"")");
	for (Client* client : {&limited, &chooses, &whole, &filters})
		read(*client);
	update(10, {{2, "\"s\""}});
	update(11, {});
	EXPECT_EQ(read(limited), "");
	EXPECT_EQ(read(chooses), "");
	EXPECT_EQ(read(filters), "");
	EXPECT_EQ(read(whole), "transaction:10 transaction:11");
	Body body;
	const uint32_t shape = body.shape(items);
	body.update(shape, {"1", "\"x\"", "\"t\""}, {{2, "\"s\""}});
	body.update(shape, {"1", "\"y\"", "\"t\""}, {{1, "\"x\""}});
	body.update(shape, {"1", "\"y\"", "\"u\""}, {{2, "\"t\""}});
	body.update(shape, {"2", "\"y\"", "\"u\""}, {{0, "1"}});
	deliver(12, body);
	judge();
	const std::string told = all(limited);
	EXPECT_NE(
	    told.find(
	        R"("changes":[{"ids":["a"],"table":"public.items","op":"update","key":{"id":1},"new":{"id":1,"v":"y"},"old":{"id":1,"v":"x"}},{"ids":["a"],"table":"public.items","op":"update","key":{"id":2},"new":{"id":2,"v":"y"},"old":{"id":1}}],"more":false)"),
	    std::string::npos)
	    << told;
}

TEST_F(Rights, WithoutAKeyTooAnUpdateOfHiddenColumnsIsNotToldOf)
{
	const Shape heap = secret("heap", {});
	allow("heap", {"v"});
	Client& client = connect();
	subscribe(client, "a", "heap");
	read(client);
	update(10, {{2, "\"s\""}}, &heap);
	update(11, {{0, "7"}}, &heap);
	EXPECT_EQ(read(client), "");
	update(12, {{1, "\"w\""}, {2, "\"s\""}}, &heap);
	EXPECT_NE(all(client).find(R"("key":null,"new":{"v":"x"},"old":{"v":"w"}})"), std::string::npos);
}

TEST_F(Rights, AColumnThatMayNotBeReadIsAbsent)
{
	allow("items", {"id", "v"});
	Client& client = connect();
	subscribe(client, "a", "items", R"(,"columns":["secret"])");
	const std::string hidden = frame(client);
	subscribe(client, "a", "items", R"(,"columns":["absent"])");
	const std::string absent = frame(client);
	EXPECT_NE(hidden.find("42703"), std::string::npos);
	EXPECT_EQ(hidden.find("secret") + 6 + absent.size(), absent.find("absent") + 6 + hidden.size());
}

TEST_F(Rights, WhenTheReadableColumnsChangeTheyAreToldAndTheRowsAreVoid)
{
	Client &plain = connect(), &rows = connect(), &chooses = connect(), &loses = connect(), &other = connect("app");
	subscribe(plain, "a", "items");
	subscribe(chooses, "a", "items", R"(,"columns":["v"])");
	subscribe(loses, "a", "items", R"(,"columns":["secret"])");
	subscribe(other, "a", "items");
	subscribe(rows, "a", "items", R"(,"snapshot":true)");
	finish_snapshot(R"({"id":1,"v":"x","secret":"s"})");
	insert(10, "\"x\"");
	allow("items", {"id", "v"});
	look();
	insert(11, "\"x\"", "\"t\"");
	EXPECT_EQ(read(chooses), "subscribed:a transaction:10 transaction:11");
	EXPECT_EQ(read(loses), "subscribed:a transaction:10 unsubscribed:a:42703");
	EXPECT_EQ(read(other), "subscribed:a transaction:10 transaction:11");
	const std::string told = all(plain);
	const size_t said = told.find(
	    R"({"type":"subscribed","id":"a","table":"public.items","key":["id"],"columns":[{"name":"id","type":"integer"},{"name":"v","type":"text"}],"position":"e-10!)");
	ASSERT_NE(said, std::string::npos) << told;
	EXPECT_NE(told.find(R"({"type":"reset","id":"a","reason":"the columns that may be read have changed")", said),
	          std::string::npos)
	    << told;
	EXPECT_EQ(told.find("\"t\""), std::string::npos) << told;
	EXPECT_EQ(read(rows), "subscribed:a rows:a transaction:10 subscribed:a reset:a");
	EXPECT_EQ(*snapshots.wanted.at(only_snapshot()).columns, (std::vector<std::string>{"id", "v"}));
	finish_snapshot(R"({"id":1,"v":"x"})");
	EXPECT_EQ(read(rows), "rows:a transaction:11");
	catalog.tables.at("public.items").readable.clear();
	look();
	EXPECT_EQ(read(plain), "subscribed:a reset:a");
	EXPECT_EQ(read(chooses), "");
	look();
	EXPECT_EQ(read(plain), "");
}

TEST_F(Rights, AKeyThatMayNotBeReadEndsASubscriptionBeforeItIsTold)
{
	allow("items", {"id", "v"});
	Client &client = connect(), &other = connect("app");
	subscribe(client, "a", "items");
	subscribe(other, "a", "items");
	Shape changed = items;
	changed.key = {2};
	changed.derive();
	Body body;
	body.row(Tag::insert, body.shape(changed), {"1", "\"x\"", "\"s\""});
	deliver(10, body);
	EXPECT_EQ(read(client), "subscribed:a unsubscribed:a:0A000");
	EXPECT_EQ(read(other), "subscribed:a subscribed:a transaction:10");
}

TEST_F(Rights, AReadableColumnIsFollowedWhateverItIsCalled)
{
	allow("items", {"id", "v"});
	Client &client = connect(), &chooses = connect(), &rows = connect();
	subscribe(client, "a", "items");
	subscribe(chooses, "a", "items", R"(,"columns":["v"])");
	subscribe(rows, "a", "items", R"(,"snapshot":true)");
	Shape changed = items;
	changed.columns[1].name = "w";
	changed.columns[2].name = "v";
	changed.derive();
	Body body;
	body.row(Tag::insert, body.shape(changed), {"1", "\"x\"", "\"s\""});
	deliver(10, body);
	const std::string told = all(client);
	EXPECT_NE(told.find(R"("columns":[{"name":"id","type":"integer"},{"name":"w","type":"text"}])"), std::string::npos);
	EXPECT_NE(told.find(R"("new":{"id":1,"w":"x"}})"), std::string::npos) << told;
	EXPECT_EQ(read(chooses), "subscribed:a unsubscribed:a:42703");
	EXPECT_TRUE(read(rows).starts_with("subscribed:a subscribed:a reset:a"));
	EXPECT_EQ(*snapshots.wanted.at(only_snapshot()).columns, (std::vector<std::string>{"id", "w"}));
	catalog.tables.at("public.items").shape = std::make_shared<Shape>(changed);
	allow("items", {"id", "w"});
	look();
	EXPECT_EQ(read(client), "");
}

TEST_F(Rights, AColumnThatWasReplacedVoidsTheRows)
{
	Client &client = connect(), &rows = connect();
	subscribe(client, "a", "items");
	subscribe(rows, "a", "items", R"(,"snapshot":true)");
	finish_snapshot(R"({"id":1,"v":"x","secret":"s"})");
	insert(10, "\"x\"");
	Shape changed = items;
	changed.columns[1].number = 4;
	changed.derive();
	Body body;
	body.row(Tag::insert, body.shape(changed), {"2", "\"x\"", "\"s\""});
	deliver(11, body);
	EXPECT_EQ(read(client), "subscribed:a transaction:10 subscribed:a reset:a transaction:11");
	EXPECT_EQ(read(rows), "subscribed:a rows:a transaction:10 subscribed:a reset:a");
	EXPECT_EQ(snapshots.wanted.size(), 1u);
	catalog.tables.at("public.items").shape = std::make_shared<Shape>(changed);
	Client& resumes = connect();
	subscribe(resumes, "a", "items", R"(,"since":"e-10")");
	EXPECT_EQ(read(resumes), "subscribed:a subscribed:a reset:a transaction:11");
}

// --- Row security --------------------------------------------------------------------------------------------------

TEST_F(Rights, WhenRowSecurityComesWhatIsNotSeenStaysAway)
{
	Client &alice = connect_as("alice"), &bob = connect_as("bob"), &app = connect("app");
	for (Client* client : {&alice, &bob, &app}) {
		subscribe(*client, "a", "items");
		read(*client);
	}
	insert(10, "\"alice\"");
	secure(by_name);
	look();
	insert(11, "\"alice\"");
	EXPECT_EQ(read(alice), "transaction:10 reset:a transaction:11");
	EXPECT_EQ(read(bob), "transaction:10 reset:a");
	EXPECT_EQ(read(app), "transaction:10 transaction:11");
}

TEST_F(Rights, OneConditionOfManyIsEverybodysOwnUnderRowSecurity)
{
	Client &alice = connect_as("alice"), &bob = connect_as("bob");
	for (Client* client : {&alice, &bob}) {
		subscribe(*client, "a", "items", R"(,"where":"v=\"alice\"")");
		read(*client);
	}
	EXPECT_EQ(evaluator.all.size(), 1u);
	secure(by_name);
	look();
	insert(11, "\"alice\"");
	EXPECT_EQ(read(alice), "reset:a transaction:11");
	EXPECT_EQ(read(bob), "reset:a");
	EXPECT_EQ(evaluator.all.size(), 2u);
	evaluator.policy = nullptr;
	catalog.tables.at("public.items").secured.clear();
	look();
	insert(12, "\"alice\"");
	EXPECT_EQ(read(alice), "reset:a transaction:12");
	EXPECT_EQ(read(bob), "reset:a transaction:12");
	for (Client* client : {&alice, &bob})
		hub.close(*client->session);
	hub.trim();
	EXPECT_TRUE(evaluator.all.empty());
}

TEST_F(Rights, RowSecurityThatHidesNothingIsAskedAboutWithoutAReset)
{
	secure([](const Identity&) { return ""; });
	Client &one = connect(), &two = connect();
	for (Client* client : {&one, &two}) {
		subscribe(*client, "a", "items");
		read(*client);
	}
	evaluator.added = 0;
	look({false, {}});
	look({false, {77}});
	EXPECT_EQ(evaluator.added, 0u);
	look({false, {1}});
	EXPECT_EQ(evaluator.added, 1u) << "they are one identity";
	EXPECT_EQ(read(one), "");
}

TEST_F(Rights, APolicyThatIsNoneAnyMoreEndsItsSubscriptions)
{
	Client &unfiltered = connect(), &filtered = connect(), &other = connect("app");
	subscribe(unfiltered, "a", "items");
	subscribe(filtered, "a", "items", R"(,"where":"v=\"x\"")");
	subscribe(other, "a", "items", R"(,"where":"v=\"y\"")");
	secure([](const Identity& identity) { return identity.role == "web" ? "bad" : ""; });
	look();
	EXPECT_EQ(read(unfiltered), "subscribed:a unsubscribed:a:0A000");
	EXPECT_EQ(read(filtered), "subscribed:a unsubscribed:a:0A000");
	EXPECT_EQ(read(other), "subscribed:a");
}

TEST_F(Rights, ASlowClientGetsNothingUnderOldRightsFromAfterTheLook)
{
	Client &slow = connect_as("bob"), &same = connect_as("bob");
	for (Client* client : {&slow, &same})
		subscribe(*client, "a", "items", R"(,"where":"v=\"x\"")");
	read(same);
	insert(10, "\"x\"");
	read(same);
	secure(by_name);
	look();
	insert(11, "\"x\"");
	insert(12, "\"bob\"");
	EXPECT_EQ(read(slow), "subscribed:a transaction:10 reset:a");
	EXPECT_EQ(read(same), "reset:a");
}

TEST_F(Rights, AfterAChangeTheRowsComeAgainUnderTheNewRights)
{
	Client& client = connect_as("bob");
	subscribe(client, "a", "items", R"(,"snapshot":true)");
	finish_snapshot(R"({"id":1,"v":"x"})");
	read(client);
	secure(by_name);
	look();
	judge();
	const std::string told = all(client);
	EXPECT_NE(told.find("~x"), std::string::npos) << "nothing can be resumed from before the rows: " << told;
	insert(11, "\"x\"");
	insert(12, "\"bob\"");
	finish_snapshot("");
	judge();
	EXPECT_EQ(read(client), "rows:a transaction:12");
}

TEST_F(Rights, RowsThatAreBeingReadAreReadAgain)
{
	Client &sent = connect_as("bob"), &unsent = connect_as("bob");
	subscribe(sent, "a", "items", R"(,"snapshot":true)");
	const uint64_t first = only_snapshot();
	hub.snapshot_begun(first, std::make_shared<Seen>(Seen{1, 1, {}}), catalog.tables.at("public.items").shape);
	hub.snapshot_rows(first, R"({"id":1})");
	hub.snapshot_rows(first, R"({"id":2})");
	subscribe(unsent, "a", "items", R"(,"snapshot":true)");
	EXPECT_EQ(read(sent), "subscribed:a rows:a+");
	secure(by_name);
	look();
	judge();
	EXPECT_EQ(read(sent), "reset:a");
	EXPECT_EQ(read(unsent), "subscribed:a") << "it holds nothing";
	EXPECT_EQ(snapshots.wanted.size(), 2u);
	EXPECT_FALSE(snapshots.wanted.contains(first));
}

TEST_F(Rights, WhatWasCaughtUpOnIsVoid)
{
	for (uint64_t xid = 10; xid < 13; ++xid)
		insert(xid, "\"x\"");
	Client &waits = connect_as("bob"), &resumes = connect_as("bob");
	subscribe(resumes, "a", "items", R"(,"where":"v=\"x\"","since":"e-10")");
	past.replays = true;
	subscribe(waits, "a", "items", R"(,"where":"v=\"x\"","since":"e-5")");
	EXPECT_EQ(past.wanted.size(), 1u);
	secure(by_name);
	look();
	judge();
	EXPECT_EQ(read(resumes), "subscribed:a reset:a");
	const std::string told = all(waits);
	EXPECT_NE(told.find(R"("resumed":false},{"type":"reset")"), std::string::npos) << told;
	EXPECT_TRUE(past.wanted.empty());
}

TEST_F(Rights, ATransactionIsJudgedByTheOldRightsOrByTheNew)
{
	Client& client = connect_as("bob");
	subscribe(client, "a", "items", R"(,"where":"v=\"x\"")");
	read(client);
	Body body;
	const uint32_t shape = body.shape(items);
	for (int i = 0; i < 100; ++i)
		body.row(Tag::insert, shape, {std::to_string(i), "\"x\"", ""});
	deliver(10, body);
	hub.judge({});
	secure(by_name);
	look();
	judge();
	EXPECT_EQ(read(client), "reset:a");
}

TEST_F(Rights, WhileItIsNotKnownWhatMayBeSeenTheStreamWaits)
{
	Client &client = connect_as("bob"), &other = connect("app");
	subscribe(client, "a", "items", R"(,"where":"v=\"x\"")");
	subscribe(other, "a", "items");
	read(client);
	read(other);
	secure(by_name);
	evaluator.locked = true;
	look();
	insert(10, "\"x\"");
	EXPECT_EQ(read(client), "");
	EXPECT_EQ(read(other), "");
	evaluator.locked = false;
	const auto end = steady_clock::now() + std::chrono::seconds(10);
	while (read(other).empty() && steady_clock::now() < end) {
		hub.look_further(steady_clock::time_point::max());
		judge();
	}
	EXPECT_EQ(read(client), "reset:a");
	secure([](const Identity&) { return ""; });
	evaluator.locked = true;
	look();
	insert(11, "\"x\"");
	// Not for as long as somebody holds the table.
	while (read(other).empty() && steady_clock::now() < end) {
		hub.look_further(steady_clock::time_point::max());
		judge();
	}
	EXPECT_EQ(read(client), "unsubscribed:a:55P03");
}

TEST_F(Rights, ALookGoesOnBehindTheTablesThatAreLocked)
{
	for (const char* name : {"a", "b", "c"}) {
		secret(name, {0});
		catalog.tables.at(std::string("public.") + name).access["web"] = Access::granted;
	}
	Client& client = connect();
	for (const char* name : {"a", "b", "c"})
		subscribe(client, name, name);
	read(client);
	catalog.tables.at("public.a").access["web"] = Access::busy;
	catalog.tables.at("public.b").access["web"] = Access::busy;
	catalog.tables.at("public.c").access["web"] = Access::absent;
	hub.look_again({});
	for (int i = 0; i < 4; ++i)
		hub.look_further({});
	EXPECT_FALSE(hub.has_to_look());
	EXPECT_EQ(read(client), "unsubscribed:c:42P01");
	catalog.tables.at("public.a").access["web"] = Access::absent;
	hub.look_at_locked();
	for (int i = 0; i < 2; ++i)
		hub.look_further({});
	EXPECT_EQ(read(client), "unsubscribed:a:42P01");
}

}  // namespace
}  // namespace plank::core
