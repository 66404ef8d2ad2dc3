// Subscriptions that end or begin anew while their clients have not read all yet, and still catch up.
#include "core/hub.hpp"

#include <gtest/gtest.h>

#include "hub_rights.hpp"

namespace plank::core {
namespace {

class Leaving : public Rights {
 protected:
	// Somebody who has asked for rows, and still has to be told of 10 behind them and of what is live.
	Client& with_rows()
	{
		Client& client = connect_as("bob");
		subscribe(client, "b", "items");
		subscribe(client, "a", "items", R"(,"snapshot":true)");
		insert(10, "\"bob\"");
		finish_snapshot(R"({"id":1})");
		insert(11, "\"bob\"");
		return client;
	}
	void take_away()
	{
		catalog.tables.at("public.items").access["web"] = Access::absent;
		look();
	}
	void insert_much(uint64_t xid)
	{
		test::Body body;
		const uint32_t shape = body.shape(items);
		for (int i = 0; i < 8; ++i)
			body.row(Tag::insert, shape, {std::to_string(i), "\"" + std::string(100'000, 'x') + "\"", "\"s\""});
		deliver(xid, body);
		judge();
	}
};

TEST_F(Leaving, RowsThatAResetHasBroughtDoNotComeBehindTheNextReset)
{
	Client& client = with_rows();
	hub.reset_all("lost");
	finish_snapshot(R"({"id":2})");
	insert(12, "\"bob\"");
	EXPECT_EQ(frame(client).substr(0, 22), R"([{"type":"subscribed",)");
	secure(by_name);
	look();
	judge();
	finish_snapshot(R"({"id":3})");
	const std::string told = all(client);
	const size_t rows = told.rfind(R"("rows")"), reset = told.rfind(R"({"type":"reset","id":"a")");
	ASSERT_NE(rows, std::string::npos) << told;
	ASSERT_NE(reset, std::string::npos) << told;
	EXPECT_LT(told.find(R"({"id":2})"), reset) << told;
}

TEST_F(Leaving, AResetIsToldThoughTheOneBeforeItHasNotBeenRead)
{
	Client& client = with_rows();
	hub.reset_all("lost");
	secure(by_name);
	look();
	judge();
	finish_snapshot(R"({"id":3})");
	const std::string told = all(client);
	const size_t first = told.find(R"({"id":1})"), reset = told.find(R"({"type":"reset","id":"a")");
	ASSERT_NE(first, std::string::npos) << told;
	EXPECT_LT(first, reset);
	EXPECT_LT(reset, told.find(R"({"id":3})")) << told;
}

TEST_F(Leaving, ANewShapeIsToldThoughWhatToldItIsLeftOut)
{
	insert(10, "\"x\"");
	insert(11, "\"x\"");
	Client& client = connect_as("bob");
	subscribe(client, "b", "items");
	EXPECT_EQ(read(client), "subscribed:b");
	subscribe(client, "a", "items", R"(,"since":"e-10")");
	items = add_column("items");
	test::Body body;
	body.row(Tag::insert, body.shape(items), {"1", "\"x\"", "\"s\"", "\"new\""});
	deliver(12, body);
	secure(by_name);
	look();
	judge();
	const std::string told = all(client);
	const size_t reset = told.find(R"({"type":"reset","id":"a")");
	ASSERT_NE(reset, std::string::npos) << told;
	const size_t subscribed = told.rfind(R"({"type":"subscribed","id":"a")", reset);
	ASSERT_NE(subscribed, std::string::npos) << told;
	EXPECT_NE(told.substr(subscribed, reset - subscribed).find("\"c3\""), std::string::npos) << told;
}

TEST_F(Leaving, TheRestOfATransactionIsNotTakenForWhatTheNextOfItsNameLacks)
{
	insert(10, "\"x\"");
	insert_much(11);
	Client& client = connect();
	subscribe(client, "b", "items");
	EXPECT_EQ(read(client), "subscribed:b");
	subscribe(client, "a", "items", R"(,"since":"e-10")");
	EXPECT_NE(frame(client).find("subscribed"), std::string::npos);
	EXPECT_NE(frame(client).find(R"("more":true)"), std::string::npos);
	ask(client, R"({"type":"unsubscribe","id":"a"})");
	subscribe(client, "a", "items");
	insert(12, "\"x\"");
	take_away();
	EXPECT_EQ(read(client),
	          "transaction:11+ transaction:11 unsubscribed:a subscribed:a transaction:12 "
	          "unsubscribed:a:42P01 unsubscribed:b:42P01");
	EXPECT_EQ(hub.waiting(*client.session), 0u);
}

}  // namespace
}  // namespace plank::core
