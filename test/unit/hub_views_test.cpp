// What subscriptions see of a table: filters, columns, and the rows that were there before.
#include "core/hub.hpp"

#include <gtest/gtest.h>

#include "hub_fakes.hpp"

namespace plank::core {
namespace {

using test::Body;

class Views : public test::HubFixture {
 protected:
	Shape items = table(1, "items");

	void watch(Client& client, const std::string& id, const std::string& where, const std::string& more = "")
	{
		subscribe(client, id, "items", (where.empty() ? "" : ",\"where\":\"" + where + "\"") + more);
	}
	// One row's changes, each a transaction: inserted with v = from[0], then updated to the others, then deleted.
	void life(uint64_t xid, const std::vector<std::string>& values)
	{
		Body first;
		first.row(Tag::insert, first.shape(items), {"1", values[0]});
		deliver(xid++, first);
		for (size_t i = 1; i < values.size(); ++i) {
			Body body;
			body.update(body.shape(items), {"1", values[i]}, {{1, values[i - 1]}});
			deliver(xid++, body);
		}
		Body last;
		last.row(Tag::remove, last.shape(items), {"1", values.back()});
		deliver(xid++, last);
		judge();
	}
	// Everything that waits for the client: op, new and old values of v, cause, and the ids.
	std::string changes(Client& client)
	{
		std::string told;
		for (std::string text = frame(client); !text.empty(); text = frame(client)) {
			const test::Json root = test::parse(text);
			if (json_is_array(root.get()))
				for (size_t i = 0; i < json_array_size(root.get()); ++i)
					told += changes_of(json_array_get(root.get(), i));
			else
				told += changes_of(root.get());
		}
		return told;
	}
	uint64_t only_snapshot()
	{
		EXPECT_EQ(snapshots.wanted.size(), 1u);
		return snapshots.wanted.begin()->first;
	}
	ShapePtr shape() { return catalog.tables.at("public.items").shape; }
	static SeenPtr seen(uint64_t xmin, uint64_t xmax, std::vector<uint64_t> running = {})
	{
		return std::make_shared<Seen>(Seen{xmin, xmax, std::move(running)});
	}

 private:
	static std::string changes_of(const json_t* message)
	{
		std::string told;
		const json_t* list = json_object_get(message, "changes");
		for (size_t i = 0; i < json_array_size(list); ++i) {
			const json_t* change = json_array_get(list, i);
			const json_t* ids = json_object_get(change, "ids");
			for (size_t j = 0; j < json_array_size(ids); ++j)
				told += json_string_value(json_array_get(ids, j));
			told += "." + test::text_of(change, "op");
			for (const char* row : {"old", "new"})
				if (const json_t* value = json_object_get(json_object_get(change, row), "v"))
					told += std::string(",") + row + "=" + json_string_value(value);
			if (json_object_get(change, "cause")) told += "!";
			told += ' ';
		}
		return told;
	}
};

TEST_F(Views, RowsEnterAndLeaveAFilter)
{
	Client& client = connect();
	watch(client, "x", "v=\\\"x\\\"");
	read(client);
	life(10, {"\"a\"", "\"x\"", "\"x\"", "\"b\"", "\"x\""});
	EXPECT_EQ(changes(client), "x.insert,new=x! x.update,old=x,new=x x.delete,old=x! x.insert,new=x! x.delete,old=x ");
}

TEST_F(Views, EventsAreJudgedAfterTheFilter)
{
	Client& client = connect();
	watch(client, "x", "v=\\\"x\\\"", R"(,"events":["insert"])");
	watch(client, "y", "v=\\\"x\\\"", R"(,"events":["delete"])");
	read(client);
	life(10, {"\"a\"", "\"x\"", "\"b\""});
	EXPECT_EQ(changes(client), "x.insert,new=x! y.delete,old=x! ");
}

TEST_F(Views, OnlyWhoseFilterPassesIsWoken)
{
	std::vector<Client*> all;
	for (int i = 0; i < 20; ++i) {
		all.push_back(&connect());
		watch(*all.back(), "a", "v=\\\"" + std::to_string(i) + "\\\"");
		read(*all.back());
		all.back()->link.ready = false;
	}
	deliver_row(10, items, "\"7\"");
	judge();
	for (int i = 0; i < 20; ++i)
		EXPECT_EQ(all[static_cast<size_t>(i)]->link.ready, i == 7) << i;
	EXPECT_EQ(read(*all[7]), "transaction:10");
}

TEST_F(Views, FiltersColumnsAndNothingShareAMessage)
{
	Client& client = connect();
	watch(client, "a", "");
	watch(client, "b", "v=\\\"x\\\"");
	watch(client, "c", "v=\\\"x\\\"", R"(,"columns":[])");
	watch(client, "d", "", R"(,"columns":["v"])");
	read(client);
	life(10, {"\"x\"", "\"y\""});
	EXPECT_EQ(changes(client),
	          "a.insert,new=x d.insert,new=x b.insert,new=x c.insert a.update,old=x,new=y d.update,old=x,new=y "
	          "b.delete,old=x! c.delete! a.delete,old=y d.delete,old=y ");
}

TEST_F(Views, ColumnsAreChosenAndTheKeyAlways)
{
	Client& client = connect();
	watch(client, "a", "", R"(,"columns":[])");
	EXPECT_NE(frame(client).find(R"("columns":[{"name":"id","type":"integer"}])"), std::string::npos);
	watch(client, "b", "", R"(,"columns":["nothing"])");
	EXPECT_EQ(read(client), "error:b:42703");
	deliver_row(10, items);
	EXPECT_NE(frame(client).find(R"("key":{"id":1},"new":{"id":1}})"), std::string::npos);
}

TEST_F(Views, ABadFilterIsRefusedAndAFailingOneEndsAlone)
{
	Client& client = connect();
	watch(client, "a", "bad");
	watch(client, "b", "fails");
	watch(client, "c", "v=\\\"x\\\"");
	EXPECT_EQ(read(client), "error:a:42601 subscribed:b subscribed:c");
	deliver_row(10, items);
	judge();
	EXPECT_EQ(read(client), "transaction:10 unsubscribed:b:22012");
	EXPECT_EQ(hub.counters().subscriptions, 1u);
}

TEST_F(Views, FiltersAreGivenBack)
{
	Client& client = connect();
	watch(client, "a", "v=\\\"x\\\"");
	watch(client, "b", "v=\\\"x\\\"");
	watch(client, "c", "v=\\\"y\\\"");
	EXPECT_EQ(evaluator.all.size(), 2u);
	for (const auto& [id, filter] : evaluator.all)
		EXPECT_EQ(filter.references, 1u);
	ask(client, R"({"type":"unsubscribe","id":"a"})");
	ask(client, R"({"type":"unsubscribe","id":"b"})");
	evaluator.in_callback = true;
	read(client);
	evaluator.in_callback = false;
	hub.trim();
	EXPECT_EQ(evaluator.all.size(), 1u);
	evaluator.in_callback = true;
	hub.close(*client.session);
	evaluator.in_callback = false;
	hub.trim();
	EXPECT_TRUE(evaluator.all.empty());
}

TEST_F(Views, WhatIsJudgedComesInOrderWithTheRest)
{
	table(2, "others");
	const Shape others = *catalog.tables.at("public.others").shape;
	Client& client = connect();
	watch(client, "a", "v=\\\"x\\\"");
	subscribe(client, "b", "others");
	deliver_row(10, items);
	deliver_row(11, others);
	hub.reset_all("lost");
	EXPECT_EQ(read(client), "subscribed:a subscribed:b");
	judge();
	EXPECT_EQ(read(client), "transaction:10 transaction:11 reset:a reset:b");
}

TEST_F(Views, ALargeTransactionIsJudgedInSlicesAndRequestsWaitForItsEnd)
{
	Client& client = connect();
	watch(client, "a", "v=\\\"x\\\"");
	Body body;
	const uint32_t shape = body.shape(items);
	for (int i = 0; i < 1000; ++i)
		body.row(Tag::insert, shape, {std::to_string(i), i % 2 ? "\"x\"" : "\"y\""});
	deliver(10, body);
	EXPECT_TRUE(hub.judge({}));
	hub.receive(*client.session, R"({"type":"subscribe","id":"b","table":"items","where":"v=\"y\""})");
	answer();
	EXPECT_EQ(read(client), "subscribed:a");
	judge();
	EXPECT_EQ(evaluator.evaluated, 1000u);
	answer();
	EXPECT_EQ(read(client), "transaction:10 subscribed:b");
}

TEST_F(Views, AFilterThatPassesManyRowsOfATransactionGetsThemAllOnce)
{
	for (const char* more : {R"(,"columns":[])", R"(,"columns":[],"events":["delete"])"}) {
		Client& client = connect();
		watch(client, "a", "v=\\\"x\\\"", more);
		watch(client, "b", "v=\\\"y\\\"", R"(,"columns":[])");
		read(client);
		Body body;
		const uint32_t shape = body.shape(items);
		for (int i = 0; i < 30000; ++i)
			body.row(Tag::insert, shape, {std::to_string(i), i % 5 ? "\"x\"" : "\"y\""});
		deliver(10, body);
		judge();
		std::string expected;
		const bool sees = std::string(more).find("delete") == std::string::npos;
		for (int i = 0; i < 30000; ++i)
			if (i % 5 == 0 || sees) expected += i % 5 ? "a.insert " : "b.insert ";
		EXPECT_EQ(changes(client), expected);
		hub.close(*client.session);
	}
}

// An audience remembers the latest entries that concern it; whoever is further behind is found his own all the same.
TEST_F(Views, WhoLagsFarGetsWhatConcernsHimAndNothingElse)
{
	Client& first = connect();
	Client& second = connect();
	Client& other = connect();
	watch(first, "a", "v=\\\"mine\\\"");
	watch(second, "a", "v=\\\"mine\\\"");
	watch(other, "b", "v=\\\"foreign\\\"");
	for (Client* client : {&first, &second, &other})
		read(*client);
	std::string mine, foreign;
	for (uint64_t xid = 1; xid <= 500; ++xid) {
		// Of the two in one audience one keeps up.
		const bool is_mine = xid % 3 == 0;
		deliver_row(xid, items, is_mine ? "\"mine\"" : "\"foreign\"");
		judge();
		(is_mine ? mine : foreign) += is_mine ? "a.insert,new=mine " : "b.insert,new=foreign ";
		EXPECT_EQ(changes(second), is_mine ? "a.insert,new=mine " : "") << xid;
	}
	EXPECT_EQ(changes(first), mine);
	EXPECT_EQ(changes(other), foreign);
	EXPECT_EQ(changes(second), "");
	EXPECT_EQ(hub.waiting(*first.session), 0u);
	EXPECT_EQ(hub.waiting(*other.session), 0u);
}

// --- Resuming with a filter ----------------------------------------------------------------------------------------

TEST_F(Views, WhatWasMissedIsJudgedByAFilterThatIsNew)
{
	deliver_row(10, items, "\"x\"");
	deliver_row(11, items, "\"y\"");
	deliver_row(12, items, "\"x\"");
	Client& client = connect();
	watch(client, "a", "v=\\\"x\\\"", R"(,"since":"e-10")");
	deliver_row(13, items, "\"x\"");
	EXPECT_EQ(read(client), "subscribed:a");
	judge();
	EXPECT_EQ(read(client), "transaction:12 transaction:13");
	EXPECT_EQ(evaluator.evaluated, 3u);
	Client& again = connect();
	watch(again, "z", "v=\\\"x\\\"", R"(,"since":"e-11")");
	EXPECT_EQ(read(again), "subscribed:z transaction:12 transaction:13") << "it was judged already";
}

// --- Snapshots -----------------------------------------------------------------------------------------------------

TEST_F(Views, RowsThenWhatTheyHaveNotSeenThenWhatIsLive)
{
	Client& client = connect();
	subscribe(client, "b", "items");
	deliver_row(10, items);
	watch(client, "a", "", R"(,"snapshot":true)");
	deliver_row(11, items);
	deliver_row(12, items);
	EXPECT_EQ(read(client), "subscribed:b transaction:10 subscribed:a transaction:11 transaction:12") << "b goes on";
	const uint64_t number = only_snapshot();
	EXPECT_FALSE(snapshots.wanted.at(number).columns) << "all, as the snapshot finds them";
	hub.snapshot_begun(number, seen(12, 15, {12}), shape());
	EXPECT_EQ(snapshots.fences, std::vector<uint64_t>{number});
	hub.snapshot_rows(number, R"({"id":1,"v":"x"})");
	hub.snapshot_rows(number, R"({"id":2,"v":"x"})");
	deliver_row(13, items);
	hub.snapshot_done(number);
	EXPECT_EQ(frame(client), R"({"type":"rows","id":"a","rows":[{"id":1,"v":"x"}],"more":true})");
	deliver_row(14, items);
	hub.fence_passed(number);
	deliver_row(15, items);
	EXPECT_EQ(read(client), "transaction:13 transaction:14 rows:a transaction:12 transaction:15");
	EXPECT_EQ(hub.snapshots(), 0u);
}

TEST_F(Views, ColumnsOfRowsAreChosenWhereTheyAreRead)
{
	Client& client = connect();
	watch(client, "a", "", R"(,"snapshot":true,"columns":[])");
	const ColumnNames& columns = snapshots.wanted.at(only_snapshot()).columns;
	ASSERT_TRUE(columns) << "none but the key is not all of them";
	EXPECT_TRUE(columns->empty());
}

TEST_F(Views, APositionBehindRowsKnowsWhatTheyHaveSeen)
{
	Client& client = connect();
	deliver_row(10, items);
	watch(client, "a", "", R"(,"snapshot":true)");
	EXPECT_EQ(read(client), "subscribed:a");
	const uint64_t number = only_snapshot();
	deliver_row(11, items);
	deliver_row(12, items);
	hub.snapshot_begun(number, seen(11, 13, {11}), shape());
	hub.snapshot_done(number);
	hub.fence_passed(number);
	EXPECT_EQ(frame(client), R"({"type":"rows","id":"a","rows":[],"more":false,"position":"e-10~b.2.0"})");
	EXPECT_EQ(frame(client).substr(0, 64), R"({"type":"transaction","xid":"11","committed_at":"2000-01-01T00:0)");
	Client& again = connect();
	watch(again, "z", "", R"(,"snapshot":true,"since":"e-10~b.2.0")");
	deliver_row(13, items);
	EXPECT_EQ(read(again), "subscribed:z transaction:11 transaction:13");
	watch(again, "y", "", R"(,"since":"e-10~b")");
	EXPECT_EQ(read(again), "error:y:22023");
}

TEST_F(Views, APositionFromBeforeTheRowsResumesNothing)
{
	Client& client = connect();
	watch(client, "a", "", R"(,"snapshot":true)");
	EXPECT_NE(frame(client).find("\"position\":\"e-0-w~x\""), std::string::npos);
	Client& again = connect();
	watch(again, "b", "", R"(,"snapshot":true,"since":"e-0-w~x")");
	EXPECT_EQ(read(again), "subscribed:b reset:b");
	EXPECT_EQ(snapshots.wanted.size(), 2u);
}

TEST_F(Views, AFailedResumeAndAResetReadTheRowsAgain)
{
	Client& client = connect();
	watch(client, "a", "", R"(,"snapshot":true,"since":"f-1")");
	EXPECT_EQ(read(client), "subscribed:a reset:a");
	uint64_t number = only_snapshot();
	hub.snapshot_begun(number, seen(5, 5), shape());
	hub.snapshot_done(number);
	hub.fence_passed(number);
	snapshots.wanted.erase(number);
	EXPECT_EQ(read(client), "rows:a");
	deliver_row(10, items);
	hub.reset_all("lost");
	deliver_row(11, items);
	EXPECT_EQ(read(client), "transaction:10 reset:a");
	number = only_snapshot();
	hub.snapshot_begun(number, seen(11, 12, {11}), shape());
	hub.snapshot_rows(number, R"({"id":1,"v":"x"})");
	hub.snapshot_done(number);
	hub.fence_passed(number);
	EXPECT_EQ(read(client), "rows:a transaction:11");
}

TEST_F(Views, AResetWhileRowsAreReadBeginsAnew)
{
	Client& client = connect();
	watch(client, "a", "", R"(,"snapshot":true)");
	const uint64_t first = only_snapshot();
	hub.snapshot_begun(first, seen(5, 5), shape());
	hub.snapshot_rows(first, R"({"id":1,"v":"x"})");
	hub.snapshot_rows(first, R"({"id":2,"v":"x"})");
	hub.reset_all("lost");
	const uint64_t second = only_snapshot();
	EXPECT_NE(first, second);
	hub.snapshot_rows(first, "x");
	hub.snapshot_done(first);
	EXPECT_EQ(read(client), "subscribed:a rows:a+ reset:a");
}

TEST_F(Views, AReaderThatDiesIsReplacedAndOneThatFailsEndsTheSubscription)
{
	Client& client = connect();
	watch(client, "a", "", R"(,"snapshot":true)");
	hub.snapshot_failed(only_snapshot(), {}, true);
	EXPECT_EQ(read(client), "subscribed:a");
	hub.snapshot_failed(only_snapshot(), {"", "22012", "division by zero", "", ""}, false);
	EXPECT_EQ(read(client), "unsubscribed:a:22012");
	EXPECT_TRUE(snapshots.wanted.empty());
}

TEST_F(Views, AShapeToldBeforeTheRowsIsNoPlaceToGoOnFrom)
{
	Client& client = connect();
	watch(client, "a", "", R"(,"snapshot":true)");
	EXPECT_EQ(read(client), "subscribed:a");
	add_column("items");
	hub.snapshot_begun(only_snapshot(), seen(5, 5), shape());
	const std::string again = frame(client);
	EXPECT_NE(again.find(R"("type":"subscribed")"), std::string::npos);
	EXPECT_NE(again.find(R"(~x")"), std::string::npos) << again;
}

TEST_F(Views, AClientThatDoesNotReadPausesItsRows)
{
	Client& client = connect();
	watch(client, "a", "", R"(,"snapshot":true)");
	const uint64_t number = only_snapshot();
	hub.snapshot_begun(number, seen(5, 5), shape());
	int batches = 0;
	while (snapshots.paused.empty()) {
		hub.snapshot_rows(number, std::string(30'000, ' '));
		ASSERT_LT(++batches, 20);
	}
	read(client);
	EXPECT_TRUE(snapshots.paused.empty());
	hub.close(*client.session);
	EXPECT_TRUE(snapshots.wanted.empty());
	hub.snapshot_rows(number, "x");
}

TEST_F(Views, RowsAreFilteredAndSoIsWhatFollowsThem)
{
	Client& client = connect();
	watch(client, "a", "v=\\\"x\\\"", R"(,"snapshot":true)");
	const uint64_t number = only_snapshot();
	EXPECT_EQ(snapshots.wanted.at(number).condition, "v=\"x\"");
	deliver_row(10, items, "\"x\"");
	deliver_row(11, items, "\"y\"");
	judge();
	hub.snapshot_begun(number, seen(5, 5), shape());
	hub.snapshot_done(number);
	hub.fence_passed(number);
	EXPECT_EQ(read(client), "subscribed:a rows:a transaction:10");
}

TEST_F(Views, AResetThatWasJudgedReadsFilteredRowsAgainOutsideTheBatch)
{
	Client& client = connect();
	watch(client, "a", "v=\\\"x\\\"", ",\"snapshot\":true");
	const uint64_t first = only_snapshot();
	hub.snapshot_begun(first, seen(5, 5), shape());
	hub.snapshot_rows(first, "[]");
	hub.snapshot_done(first);
	hub.fence_passed(first);
	read(client);
	snapshots.wanted.clear();
	deliver_row(10, items, "\"x\"");
	hub.reset_all("lost");
	EXPECT_TRUE(hub.has_to_judge());
	judge();
	EXPECT_EQ(read(client), "transaction:10 reset:a");
	EXPECT_EQ(snapshots.wanted.at(only_snapshot()).condition, "v=\"x\"");
	EXPECT_FALSE(hub.has_to_judge());
}

TEST_F(Views, WhenTheDatabaseIsAwayNothingStaysHalfDone)
{
	Client& client = connect();
	watch(client, "a", "v=\\\"x\\\"");
	deliver_row(10, items, "\"x\"");
	evaluator.throws = true;
	EXPECT_THROW(judge(), std::runtime_error);
	hub.receive(*client.session, R"({"type":"subscribe","id":"b","table":"items","where":"v=\"x\"","snapshot":true})");
	answer();
	evaluator.throws = false;
	judge();
	EXPECT_EQ(read(client), "subscribed:a transaction:10") << "each once";
	evaluator.throws = true;
	EXPECT_THROW(answer(), std::runtime_error);
	EXPECT_TRUE(snapshots.wanted.empty());
	evaluator.throws = false;
	while (snapshots.wanted.empty()) {
		hub.trim();
		judge();
	}
	EXPECT_EQ(read(client), "subscribed:b");
}

}  // namespace
}  // namespace plank::core
