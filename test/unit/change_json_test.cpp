// A change as clients read it: key, new, old and cause (protocol.md rules 4 to 6).
#include "core/change_json.hpp"

#include <gtest/gtest.h>

#include "records.hpp"

namespace plank::core {
namespace {

using test::Body;

Shape items(std::vector<uint32_t> key)
{
	return test::shape_of(
	    7, "public.items",
	    {{"id", "bigint", Numbers::scalar}, {"name", "text", Numbers::none}, {"tags", "numeric[]", Numbers::nested}},
	    std::move(key));
}

// The members of the first change in `body`, as an object.
std::string members(const Body& body, bool numbers_as_text = false)
{
	ShapeCache cache;
	const auto transaction = body.transaction(1, cache);
	if (!transaction) return "refused";
	RecordReader reader(transaction->body);
	Record record;
	if (!reader.next(record)) return "no record";
	std::string out = "{\"op\":\"" + std::string(op_name(record.op)) + "\"";
	append_change_members(out, record, *transaction->shapes[record.shape], numbers_as_text);
	out += '}';
	EXPECT_TRUE(test::parse(out)) << out;
	return out;
}

TEST(ChangeJson, InsertHasKeyAndTheWholeRow)
{
	Body body;
	body.row(Tag::insert, body.shape(items({0})), {"7", "\"x\"", ""});
	EXPECT_EQ(members(body), R"({"op":"insert","key":{"id":7},"new":{"id":7,"name":"x","tags":null}})");
}

TEST(ChangeJson, DeleteHasKeyAndTheWholeOldRow)
{
	Body body;
	body.row(Tag::remove, body.shape(items({0})), {"7", "", "[1]"});
	EXPECT_EQ(members(body), R"({"op":"delete","key":{"id":7},"old":{"id":7,"name":null,"tags":[1]}})");
}

TEST(ChangeJson, UpdateHasTheKeyAndWhatChangedAsOld)
{
	Body body;
	body.update(body.shape(items({0})), {"7", "\"y\"", "[1]"}, {{1, "\"x\""}});
	EXPECT_EQ(members(body),
	          R"({"op":"update","key":{"id":7},"new":{"id":7,"name":"y","tags":[1]},"old":{"id":7,"name":"x"}})");
}

TEST(ChangeJson, UpdateThatChangesNothingHasOnlyTheKeyAsOld)
{
	Body body;
	body.update(body.shape(items({0})), {"7", "\"y\"", ""}, {});
	EXPECT_EQ(members(body), R"({"op":"update","key":{"id":7},"new":{"id":7,"name":"y","tags":null},"old":{"id":7}})");
}

TEST(ChangeJson, ChangedKeyIsNewInKeyAndFormerInOld)
{
	Body body;
	body.update(body.shape(items({0})), {"8", "\"y\"", ""}, {{0, "7"}});
	EXPECT_EQ(members(body), R"({"op":"update","key":{"id":8},"new":{"id":8,"name":"y","tags":null},"old":{"id":7}})");
}

TEST(ChangeJson, FormerNullIsToldAsNull)
{
	Body body;
	body.update(body.shape(items({0})), {"7", "\"y\"", "[]"}, {{1, ""}, {2, ""}});
	EXPECT_EQ(
	    members(body),
	    R"({"op":"update","key":{"id":7},"new":{"id":7,"name":"y","tags":[]},"old":{"id":7,"name":null,"tags":null}})");
}

TEST(ChangeJson, KeyColumnsKeepTheKeysOwnOrder)
{
	Body body;
	body.row(Tag::insert, body.shape(items({1, 0})), {"7", "\"x\"", ""});
	EXPECT_EQ(members(body), R"({"op":"insert","key":{"name":"x","id":7},"new":{"id":7,"name":"x","tags":null}})");
}

TEST(ChangeJson, WithoutAKeyOldIsAlwaysTheWholeRow)
{
	Body insert, update, remove;
	insert.row(Tag::insert, insert.shape(items({})), {"7", "\"x\"", ""});
	EXPECT_EQ(members(insert), R"({"op":"insert","key":null,"new":{"id":7,"name":"x","tags":null}})");
	update.update(update.shape(items({})), {"7", "\"y\"", "[2]"}, {{1, "\"x\""}});
	EXPECT_EQ(
	    members(update),
	    R"({"op":"update","key":null,"new":{"id":7,"name":"y","tags":[2]},"old":{"id":7,"name":"x","tags":[2]}})");
	remove.row(Tag::remove, remove.shape(items({})), {"7", "\"x\"", ""});
	EXPECT_EQ(members(remove), R"({"op":"delete","key":null,"old":{"id":7,"name":"x","tags":null}})");
}

TEST(ChangeJson, MovesSayThatAnUpdateCausedThem)
{
	Body entered, left;
	entered.row(Tag::entered, entered.shape(items({0})), {"7", "", ""});
	EXPECT_EQ(members(entered),
	          R"({"op":"insert","key":{"id":7},"new":{"id":7,"name":null,"tags":null},"cause":"update"})");
	left.row(Tag::left, left.shape(items({0})), {"7", "", ""});
	EXPECT_EQ(members(left),
	          R"({"op":"delete","key":{"id":7},"old":{"id":7,"name":null,"tags":null},"cause":"update"})");
}

TEST(ChangeJson, TruncateHasNoMembers)
{
	Body body;
	body.truncate(body.shape(items({0})));
	EXPECT_EQ(members(body), R"({"op":"truncate"})");
}

TEST(ChangeJson, NumbersAsTextQuotesNumbersAndNothingElse)
{
	Body body;
	body.update(body.shape(items({0})),
	            {"9007199254740993", "\"5\"",
	             "[\x01"
	             "1.10\x01,null,[\x01"
	             "2\x01]]"},
	            {{0, "\"NaN\""},
	             {2,
	              "\x01"
	              "3\x01"}});
	EXPECT_EQ(
	    members(body, true),
	    R"({"op":"update","key":{"id":"9007199254740993"},"new":{"id":"9007199254740993","name":"5","tags":["1.10",null,["2"]]},"old":{"id":"NaN","tags":"3"}})");
	const std::string as_json = members(body, false);
	EXPECT_EQ(as_json.find('\x01'), std::string::npos);
	EXPECT_NE(as_json.find(R"("new":{"id":9007199254740993,"name":"5","tags":[1.10,null,[2]]})"), std::string::npos)
	    << as_json;
}

TEST(ChangeJson, NullNumbersStayNullAsText)
{
	Body body;
	body.row(Tag::insert, body.shape(items({1})), {"", "\"k\"", ""});
	EXPECT_EQ(members(body, true), R"({"op":"insert","key":{"name":"k"},"new":{"id":null,"name":"k","tags":null}})");
}

TEST(ChangeJson, OneRowLeavesNothingBehindForTheNext)
{
	Body body;
	const uint32_t shape = body.shape(items({0}));
	body.update(shape, {"1", "\"b\"", ""}, {{1, "\"a\""}}).update(shape, {"2", "\"c\"", ""}, {});
	ShapeCache cache;
	const auto transaction = body.transaction(1, cache);
	ASSERT_TRUE(transaction);
	RecordReader reader(transaction->body);
	Record record;
	std::string first, second;
	ASSERT_TRUE(reader.next(record));
	append_change_members(first, record, *transaction->shapes[0], false);
	ASSERT_TRUE(reader.next(record));
	append_change_members(second, record, *transaction->shapes[0], false);
	EXPECT_EQ(second, R"(,"key":{"id":2},"new":{"id":2,"name":"c","tags":null},"old":{"id":2})");
}

TEST(ChangeJson, TheKeyAlone)
{
	Body body;
	body.row(Tag::insert, body.shape(items({0})), {"7", "\"x\"", ""});
	ShapeCache cache;
	const auto transaction = body.transaction(1, cache);
	ASSERT_TRUE(transaction);
	RecordReader reader(transaction->body);
	Record record;
	ASSERT_TRUE(reader.next(record));
	std::string out;
	append_key_member(out, record, *transaction->shapes[0]);
	EXPECT_EQ(out, R"(,"key":{"id":7})");
}

}  // namespace
}  // namespace plank::core
