// What clients ask: every field's good and bad values, and the SQLSTATE of each mistake (protocol.md rule 9).
#include "core/request.hpp"

#include <gtest/gtest.h>

#include "core/reply.hpp"
#include "records.hpp"

namespace plank::core {
namespace {

Request good(std::string_view text)
{
	const auto parsed = parse_request(text);
	if (const auto* fault = std::get_if<Fault>(&parsed)) ADD_FAILURE() << text << ": " << fault->message;
	return std::holds_alternative<Request>(parsed) ? std::get<Request>(parsed) : Request{};
}

// "code id" of the fault.
std::string bad(std::string_view text)
{
	const auto parsed = parse_request(text);
	const auto* fault = std::get_if<Fault>(&parsed);
	return fault ? std::string(fault->code) + " " + fault->id : "accepted";
}

TEST(Request, SubscribeToATable)
{
	const Request request = good(R"({"type":"subscribe","id":"a","table":"public.items"})");
	EXPECT_EQ(request.type, RequestType::subscribe);
	EXPECT_EQ(request.id, "a");
	EXPECT_EQ(request.table, "public.items");
	EXPECT_EQ(request.channel, "");
	EXPECT_EQ(request.events, kAllOps);
	EXPECT_FALSE(request.numbers_as_text);
}

TEST(Request, SubscribeWithEventsAndNumbers)
{
	const Request request =
	    good(R"({"type":"subscribe","id":"a","table":"t","events":["delete","insert","delete"],"numbers":"text"})");
	EXPECT_EQ(request.events, op_bit(Op::insert) | op_bit(Op::remove));
	EXPECT_TRUE(request.numbers_as_text);
	EXPECT_FALSE(good(R"({"type":"subscribe","id":"a","table":"t","numbers":"json"})").numbers_as_text);
}

TEST(Request, SubscribeToAChannel)
{
	EXPECT_EQ(good(R"({"type":"subscribe","id":"b","channel":"jobs"})").channel, "jobs");
}

TEST(Request, OthersAndTheirOptionalIds)
{
	EXPECT_EQ(good(R"({"type":"unsubscribe","id":"a"})").type, RequestType::unsubscribe);
	EXPECT_EQ(good(R"({"type":"tables"})").type, RequestType::tables);
	EXPECT_EQ(good(R"({"type":"tables","id":"x"})").id, "x");
	EXPECT_EQ(good(R"({"type":"ping"})").type, RequestType::ping);
	EXPECT_EQ(good(R"({"type":"ping","id":null})").id, "");
}

TEST(Request, UnknownFieldsAndNullsAreIgnored)
{
	const Request request = good(
	    R"({"type":"subscribe","id":"a","table":"t","channel":null,"where":null,"columns":null,"snapshot":null,"since":null,"events":null,"numbers":null,"new":{"x":[1]}})");
	EXPECT_EQ(request.table, "t");
	EXPECT_EQ(request.events, kAllOps);
}

TEST(Request, TablesHaveConditionsColumnsAndSnapshots)
{
	const Request request =
	    good(R"({"type":"subscribe","id":"a","table":"t","where":"x < 1","columns":["b","a","b"],"snapshot":true})");
	EXPECT_EQ(request.where, "x < 1");
	EXPECT_EQ(request.columns, (std::vector<std::string>{"a", "b"}));
	EXPECT_TRUE(request.snapshot && request.some_columns);
	EXPECT_TRUE(good(R"({"type":"subscribe","id":"a","table":"t","columns":[]})").some_columns);
	EXPECT_FALSE(good(R"({"type":"subscribe","id":"a","table":"t","snapshot":false})").snapshot);
	for (const char* wrong : {R"("where":7)", R"("where":"")", R"("columns":"a")", R"("columns":[1])",
	                          R"("columns":[""])", R"("snapshot":"yes")"})
		EXPECT_EQ(bad(std::string(R"({"type":"subscribe","id":"a","table":"t",)") + wrong + "}"), "22023 a") << wrong;
	for (const char* wrong : {R"("where":"x")", R"("columns":["a"])", R"("snapshot":true)"})
		EXPECT_EQ(bad(std::string(R"({"type":"subscribe","id":"a","channel":"c",)") + wrong + "}"), "22023 a") << wrong;
}

TEST(Request, APositionIsTakenAsItIsWithinBounds)
{
	EXPECT_EQ(good(R"({"type":"subscribe","id":"a","table":"t","since":"1-2"})").since, "1-2");
	EXPECT_EQ(good(R"({"type":"subscribe","id":"a","channel":"c","since":"x"})").since, "x");
	const std::string long_one =
	    R"({"type":"subscribe","id":"a","table":"t","since":")" + std::string(16 * 1024 + 1, 'x') + "\"}";
	for (const std::string& text : {std::string(R"({"type":"subscribe","id":"a","table":"t","since":7})"),
	                                std::string(R"({"type":"subscribe","id":"a","table":"t","since":""})"), long_one})
		EXPECT_EQ(bad(text), "22023 a");
}

TEST(Request, NotJsonIsAProtocolViolationWithoutAnId)
{
	for (const char* text : {"", " ", "{", "hello", "{\"type\":\"ping\"", "{\"type\":\"ping\"}x", "{'type':'ping'}",
	                         "{\"a\":\"\\ud800\"}", "{\"a\":\"\\u0000\"}", "nul", "[1,]"})
		EXPECT_EQ(bad(text), "08P01 ") << text;
	EXPECT_EQ(bad(std::string_view("{\"type\":\"ping\0\"}", 16)), "08P01 ");
}

TEST(Request, JsonThatIsNoObjectOrOfUnknownType)
{
	for (const char* text :
	     {"1", "null", "[]", "\"ping\"", "{}", R"({"type":1})", R"({"type":"Ping"})", R"({"type":"ping\t"})"})
		EXPECT_EQ(bad(text), "08P01 ") << text;
	EXPECT_EQ(bad(R"({"type":"dance","id":"a"})"), "08P01 a");
}

TEST(Request, IdsHaveOneTo64CharactersHoweverManyBytes)
{
	std::string longest;
	for (int i = 0; i < 64; ++i)
		longest += "\U0001F600";
	EXPECT_EQ(good("{\"type\":\"ping\",\"id\":\"" + longest + "\"}").id, longest);
	EXPECT_EQ(bad("{\"type\":\"ping\",\"id\":\"" + longest + "x\"}"), "22023 ");
	EXPECT_EQ(bad(R"({"type":"ping","id":""})"), "22023 ");
	EXPECT_EQ(bad(R"({"type":"ping","id":7})"), "22023 ");
	EXPECT_EQ(bad(R"({"type":"subscribe","table":"t"})"), "22023 ");
	EXPECT_EQ(bad(R"({"type":"unsubscribe"})"), "22023 ");
}

TEST(Request, WrongFieldsAreBadArgumentsAndKeepTheId)
{
	const char* const wrong[] = {R"("table":7)",
	                             R"("table":"")",
	                             R"("channel":"")",
	                             R"("channel":[])",
	                             R"("events":["x"])",
	                             R"("table":"t","events":[])",
	                             R"("table":"t","events":"insert")",
	                             R"("table":"t","events":["insert",1])",
	                             R"("table":"t","events":["select"])",
	                             R"("table":"t","channel":"c")",
	                             R"("table":"t","numbers":"float")",
	                             R"("table":"t","numbers":true)",
	                             R"("table":"t","where":7)",
	                             R"("table":"t","columns":"x")",
	                             R"("table":"t","snapshot":"yes")",
	                             R"("table":"t","since":1)",
	                             R"("x":1)"};
	for (const char* fields : wrong)
		EXPECT_EQ(bad(std::string(R"({"type":"subscribe","id":"a",)") + fields + "}"), "22023 a") << fields;
	EXPECT_EQ(bad(R"({"type":"auth"})"), "22023 ");
	EXPECT_EQ(bad(R"({"type":"auth","token":7})"), "22023 ");
	EXPECT_EQ(bad(R"({"type":"auth","token":""})"), "22023 ");
	EXPECT_EQ(bad(R"({"type":"auth","id":"q","token":")" + std::string(16 * 1024 + 1, 'x') + "\"}"), "22023 q");
	EXPECT_EQ(good(R"({"type":"auth","id":"q","token":"x.y.z"})").token, "x.y.z");
}

// Requests wait in memory, many for each client: none may be as large as a message may be.
TEST(Request, NamesAreBounded)
{
	EXPECT_EQ(good(R"({"type":"subscribe","id":"a","table":")" + std::string(1000, 'x') + "\"}").table.size(), 1000u);
	EXPECT_EQ(bad(R"({"type":"subscribe","id":"a","table":")" + std::string(60000, 'x') + "\"}"), "22023 a");
	EXPECT_EQ(bad(R"({"type":"subscribe","id":"a","channel":")" + std::string(60000, 'x') + "\"}"), "22023 a");
}

TEST(Request, DeepNestingIsRefusedNotFollowed)
{
	const std::string deep(60000, '[');
	EXPECT_EQ(bad(deep), "08P01 ");
	EXPECT_EQ(bad("{\"type\":\"ping\",\"x\":" + deep + "}"), "08P01 ");
}

TEST(Reply, EveryMessageIsJsonWithItsFields)
{
	const Shape shape = test::shape_of(5, "public.\"a\"", {{"id", "bigint", Numbers::scalar}}, {0});
	const auto shape_pointer = std::make_shared<const Shape>(shape);
	const auto same = [](const std::string& text, const char* expected) {
		const test::Json left = test::parse(text), right = test::parse(expected);
		ASSERT_TRUE(left) << text;
		EXPECT_EQ(test::dump(left.get()), test::dump(right.get()));
	};
	same(welcome_message("s\"", "web"),
	     R"({"type":"welcome","protocol":"plank.v1","server":")" PLANK_VERSION R"(","session":"s\"","role":"web"})");
	EXPECT_NE(welcome_message("s", "").find("\"role\":null"), std::string::npos);
	same(
	    subscribed_message("a\\", shape, nullptr, "e-1"),
	    R"({"type":"subscribed","id":"a\\","table":"public.\"a\"","key":["id"],"columns":[{"name":"id","type":"bigint"}],"position":"e-1"})");
	same(channel_subscribed_message("b", "jobs", "e-1"),
	     R"({"type":"subscribed","id":"b","channel":"jobs","position":"e-1"})");
	same(unsubscribed_message("a", "", ""), R"({"type":"unsubscribed","id":"a","code":null,"message":null})");
	same(unsubscribed_message("a", "42P01", "gone"),
	     R"({"type":"unsubscribed","id":"a","code":"42P01","message":"gone"})");
	same(reset_message("a", "why", "e-1"), R"({"type":"reset","id":"a","reason":"why","position":"e-1"})");
	same(position_message("e-1"), R"({"type":"position","position":"e-1"})");
	same(tables_message("", {}), R"({"type":"tables","tables":[]})");
	same(
	    tables_message("q", {{shape_pointer, nullptr}, {shape_pointer, nullptr}}),
	    R"({"type":"tables","id":"q","tables":[{"table":"public.\"a\"","key":["id"],"columns":[{"name":"id","type":"bigint"}]},{"table":"public.\"a\"","key":["id"],"columns":[{"name":"id","type":"bigint"}]}]})");
	same(error_message({"", "08P01", "m", "", ""}),
	     R"({"type":"error","id":null,"code":"08P01","message":"m","detail":null,"hint":null})");
	same(error_message({"a", "22023", "m", "d", "h"}),
	     R"({"type":"error","id":"a","code":"22023","message":"m","detail":"d","hint":"h"})");
	same(pong_message(""), R"({"type":"pong"})");
	same(pong_message("x"), R"({"type":"pong","id":"x"})");
}

}  // namespace
}  // namespace plank::core
