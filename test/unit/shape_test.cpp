// Shapes: encoding, decoding of good and bad bytes, derived texts.
#include "core/shape.hpp"

#include <gtest/gtest.h>

#include "records.hpp"

namespace plank::core {
namespace {

Shape example()
{
	Shape shape = test::shape_of(
	    16400, "public.\"My \\\"Items\"",
	    {{"id", "bigint", Numbers::scalar}, {"na\"me", "text", Numbers::none}, {"x", "numeric[]", Numbers::nested}},
	    {2, 0});
	shape.notify = "items";
	return shape;
}

TEST(Shape, ReadsBackWhatWasEncoded)
{
	const ShapePtr shape = Shape::decode(example().encode());
	ASSERT_TRUE(shape);
	EXPECT_EQ(shape->relation, 16400u);
	EXPECT_EQ(shape->table, example().table);
	ASSERT_EQ(shape->columns.size(), 3u);
	EXPECT_EQ(shape->columns[1].name, "na\"me");
	EXPECT_EQ(shape->columns[2].type, "numeric[]");
	EXPECT_EQ(shape->columns[0].numbers, Numbers::scalar);
	EXPECT_EQ(shape->columns[1].numbers, Numbers::none);
	EXPECT_EQ(shape->columns[2].numbers, Numbers::nested);
	EXPECT_EQ(shape->key, (std::vector<uint32_t>{2, 0}));
	EXPECT_EQ(shape->notify, "items");
	EXPECT_EQ(shape->encode(), example().encode());
}

TEST(Shape, DerivesJsonThatClientsCanRead)
{
	const ShapePtr shape = Shape::decode(example().encode());
	ASSERT_TRUE(shape);
	EXPECT_EQ(shape->table_json, R"("public.\"My \\\"Items\"")");
	EXPECT_EQ(shape->key_names_json, R"(["x","id"])");
	EXPECT_EQ(shape->columns_json,
	          R"([{"name":"id","type":"bigint"},{"name":"na\"me","type":"text"},{"name":"x","type":"numeric[]"}])");
	EXPECT_EQ(shape->member[1], R"("na\"me":)");
	EXPECT_EQ(shape->in_key, (std::vector<bool>{true, false, true}));
	EXPECT_TRUE(shape->has_numbers);
}

TEST(Shape, WithoutKeyOrColumns)
{
	const ShapePtr shape = Shape::decode(test::shape_of(1, "a.b", {}, {}).encode());
	ASSERT_TRUE(shape);
	EXPECT_EQ(shape->key_names_json, "null");
	EXPECT_EQ(shape->columns_json, "[]");
	EXPECT_FALSE(shape->has_numbers);
}

TEST(Shape, TheNotifyChannelIsNoPartOfItsIdentity)
{
	Shape other = example();
	other.notify = "else";
	other.derive();
	EXPECT_EQ(Shape::decode(example().encode())->identity, other.identity);
	other.columns[0].type = "integer";
	other.derive();
	EXPECT_NE(Shape::decode(example().encode())->identity, other.identity);
}

TEST(Shape, DerivingTwiceChangesNothing)
{
	Shape shape = example();
	const std::string columns = shape.columns_json, key = shape.key_names_json;
	shape.derive();
	EXPECT_EQ(shape.columns_json, columns);
	EXPECT_EQ(shape.key_names_json, key);
	EXPECT_EQ(shape.member.size(), 3u);
}

TEST(Shape, BytesCutShortOrFollowedByMoreAreNoShape)
{
	const std::string bytes = example().encode();
	for (size_t length = 0; length < bytes.size(); ++length)
		EXPECT_FALSE(Shape::decode(std::string_view(bytes).substr(0, length))) << length;
	EXPECT_FALSE(Shape::decode(bytes + '\x01'));
}

TEST(Shape, NumbersOutOfRangeAreNoShape)
{
	const auto bytes = [](uint64_t columns, uint64_t kind, uint64_t keys, uint64_t key) {
		std::string out;
		append_varint(out, 7);
		append_counted(out, "t");
		append_varint(out, columns);
		append_counted(out, "c");
		append_counted(out, "text");
		append_varint(out, kind);
		append_varint(out, keys);
		append_varint(out, key);
		append_counted(out, "");
		return out;
	};
	EXPECT_TRUE(Shape::decode(bytes(1, 0, 1, 0)));
	EXPECT_FALSE(Shape::decode(bytes(1, 3, 1, 0)));
	EXPECT_FALSE(Shape::decode(bytes(1, 0, 1, 1)));
	EXPECT_FALSE(Shape::decode(bytes(1, 0, 2, 0)));
	EXPECT_FALSE(Shape::decode(bytes(uint64_t{1} << 60, 0, 1, 0)));
}

TEST(Shape, TellsWhatCameIntoTheKeyByFormerNames)
{
	Shape former = test::shape_of(7, "public.t", {{"id", "integer"}, {"u", "integer"}, {"v", "text"}}, {0});
	for (uint16_t i = 0; i < 3; ++i)
		former.columns[i].number = i + 1;
	Shape now = former;
	now.columns[0].name = "id2";
	EXPECT_TRUE(new_in_key(former, now).empty()) << "renamed";
	now.columns[1].name = "u2";
	now.key = {0, 1};
	EXPECT_EQ(new_in_key(former, now), std::vector<std::string>{"u"});
	now.columns.push_back({"n", "integer"});
	now.columns[3].number = 4;
	now.key = {3};
	EXPECT_EQ(new_in_key(former, now), std::vector<std::string>{"n"});
	now.key = {};
	EXPECT_TRUE(new_in_key(former, now).empty()) << "none";
	EXPECT_EQ(new_in_key(now, former), std::vector<std::string>{"id2"});
}

TEST(Shape, SaysWhichColumnsCarryText)
{
	Shape shape =
	    test::shape_of(7, "public.t", {{"id", "bigint", Numbers::scalar}, {"a", "integer[]"}, {"b", "text"}}, {0});
	const std::string plain = shape.encode();
	shape.columns[0].with_text = shape.columns[1].with_text = true;
	const ShapePtr read = Shape::decode(shape.encode());
	ASSERT_TRUE(read);
	EXPECT_EQ(read->texts, (std::vector<uint32_t>{0, 1}));
	EXPECT_EQ(read->columns[0].numbers, Numbers::scalar);
	EXPECT_TRUE(read->columns[1].with_text);
	EXPECT_FALSE(read->columns[2].with_text);
	EXPECT_NE(read->identity, Shape::decode(plain)->identity);
	EXPECT_TRUE(Shape::decode(plain)->texts.empty());
}

}  // namespace
}  // namespace plank::core
