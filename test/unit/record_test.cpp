// Transactions' bodies: read whole, and refused at the first fault.
#include "core/record.hpp"

#include <gtest/gtest.h>

#include "records.hpp"

namespace plank::core {
namespace {

using test::Body;

Shape two_columns() { return test::shape_of(7, "public.t", {{"id", "integer"}, {"v", "text"}}, {0}); }

std::string content_of(std::initializer_list<std::string> images, uint64_t shape = 0)
{
	std::string content;
	append_varint(content, shape);
	for (const std::string& value : images)
		append_counted(content, value);
	return content;
}

// Whether a body of one shape and one record is taken.
bool takes(Tag tag, const std::string& content)
{
	Body body;
	body.shape(two_columns());
	Transaction transaction;
	std::string bytes = body.bytes();
	append_record(bytes, tag, content);
	ShapeCache cache;
	return read_body(std::move(bytes), transaction, cache);
}

TEST(Record, AllKindsReadBack)
{
	Body body;
	const uint32_t shape = body.shape(two_columns());
	body.row(Tag::insert, shape, {"1", "\"a\""})
	    .row(Tag::entered, shape, {"1", ""})
	    .update(shape, {"1", "\"b\""}, {{1, "\"a\""}});
	body.row(Tag::remove, shape, {"1", ""})
	    .row(Tag::left, shape, {"1", ""})
	    .truncate(shape)
	    .message("jobs", "{\"x\":1}");
	body.reset(7, "partition attached").lost({7, 8}).lost({});
	ShapeCache cache;
	const auto transaction = body.transaction(812, cache, 5);
	ASSERT_TRUE(transaction);
	EXPECT_EQ(transaction->contents.changes, 6u);
	EXPECT_EQ(transaction->contents.messages, 1u);
	ASSERT_EQ(transaction->shapes.size(), 1u);
	EXPECT_EQ(transaction->shapes[0]->table, "public.t");

	std::string told;
	RecordReader reader(transaction->body);
	Record record;
	while (reader.next(record)) {
		told += static_cast<char>(record.tag);
		if (record.is_change()) told += std::string(op_name(record.op)).substr(0, 1) + (record.by_update ? "!" : "");
		if (record.tag == Tag::message) told += std::string(record.channel).append(record.payload);
		if (record.tag == Tag::reset) told += std::to_string(record.relation).append(record.reason);
	}
	EXPECT_EQ(reader.offset(), transaction->body.size());
	EXPECT_EQ(told, "Iiii!UuDddd!TtMjobs{\"x\":1}R7partition attachedLL");
}

TEST(Record, OperationNamesReadBack)
{
	for (int i = 0; i < kOps; ++i)
		EXPECT_EQ(op_named(op_name(static_cast<Op>(i))), static_cast<Op>(i));
	EXPECT_FALSE(op_named("remove"));
	EXPECT_FALSE(op_named(""));
}

TEST(Body, EmptyOneHasNoShapesAndNoRecords)
{
	ShapeCache cache;
	EXPECT_TRUE(Body().transaction(1, cache));
	Transaction nothing;
	EXPECT_FALSE(read_body("", nothing, cache));
}

TEST(Body, CutShortAnywhereItIsRefusedOrShorter)
{
	Body body;
	const uint32_t shape = body.shape(two_columns());
	body.row(Tag::insert, shape, {"1", "\"a\""}).update(shape, {"1", "\"b\""}, {{1, "\"a\""}}).message("c", "1");
	const std::string whole = body.bytes();
	ShapeCache cache;
	for (size_t length = 0; length < whole.size(); ++length) {
		Transaction transaction;
		const bool taken = read_body(whole.substr(0, length), transaction, cache);
		EXPECT_TRUE(!taken || transaction.contents.changes + transaction.contents.messages < 3) << length;
	}
}

// Reading goes on across pieces from every place between two records.
TEST(Body, InPiecesItReadsAsInOne)
{
	core::Body pieces;
	std::vector<size_t> places;
	for (int piece = 0; piece < 4; ++piece) {
		std::string bytes;
		for (int i = 0; i < piece; ++i)
			append_record(bytes, Tag::message, "\2c" + std::to_string(piece * 10 + i));
		if (piece == 3) bytes.insert(0, "xyz");
		pieces.add(std::move(bytes), piece == 3 ? 3 : 0);
	}
	std::vector<std::string> all;
	Record record;
	RecordReader reader(pieces);
	do
		places.push_back(reader.offset());
	while (reader.next(record) && (all.emplace_back(record.payload), true));
	EXPECT_EQ(all, (std::vector<std::string>{"10", "20", "21", "30", "31", "32"}));
	for (size_t i = 0; i < all.size(); ++i) {
		RecordReader from(pieces, places[i]);
		ASSERT_TRUE(from.next(record));
		EXPECT_EQ(record.payload, all[i]);
	}
	EXPECT_FALSE(RecordReader(pieces, pieces.size()).next(record));
}

TEST(Body, ChangesMustHaveExactlyTheirShapesColumns)
{
	EXPECT_TRUE(takes(Tag::insert, content_of({"1", "2"})));
	EXPECT_FALSE(takes(Tag::insert, content_of({"1"})));
	EXPECT_FALSE(takes(Tag::insert, content_of({"1", "2", "3"})));
	EXPECT_FALSE(takes(Tag::insert, content_of({"1", "2"}, 1)));
	EXPECT_FALSE(takes(Tag::insert, content_of({"1", "2"}, uint64_t{1} << 32)));
	EXPECT_FALSE(takes(Tag::insert, ""));
	EXPECT_TRUE(takes(Tag::truncate, content_of({})));
	EXPECT_FALSE(takes(Tag::truncate, content_of({"1"})));
}

TEST(Body, DifferencesMustNameColumns)
{
	const auto differences = [](std::initializer_list<uint64_t> columns, uint64_t count) {
		std::string content = content_of({"1", "2"});
		append_varint(content, count);
		for (const uint64_t column : columns) {
			append_varint(content, column);
			append_counted(content, "x");
		}
		return content;
	};
	EXPECT_TRUE(takes(Tag::update, differences({}, 0)));
	EXPECT_TRUE(takes(Tag::update, differences({0, 1}, 2)));
	EXPECT_FALSE(takes(Tag::update, differences({2}, 1)));
	EXPECT_FALSE(takes(Tag::update, differences({0}, 2)));
	EXPECT_FALSE(takes(Tag::update, differences({0, 1}, 1)));
	EXPECT_FALSE(takes(Tag::update, differences({0, 0, 0}, 3)));
	EXPECT_FALSE(takes(Tag::update, content_of({"1", "2"})));
}

TEST(Body, UnknownTagsAndOtherRecordsCutShortAreRefused)
{
	EXPECT_FALSE(takes(static_cast<Tag>('X'), ""));
	EXPECT_FALSE(takes(Tag::message, ""));
	EXPECT_FALSE(takes(Tag::message,
	                   "\x10"
	                   "abc"));
	EXPECT_FALSE(takes(Tag::reset, ""));
	EXPECT_FALSE(takes(Tag::lost, std::string("\x80")));
}

TEST(ShapeCache, EqualBytesAreOneShapeAndManyAreForgotten)
{
	ShapeCache cache;
	const std::string encoded = two_columns().encode();
	const ShapePtr first = cache.find(encoded);
	ASSERT_TRUE(first);
	EXPECT_EQ(cache.find(encoded), first);
	EXPECT_FALSE(cache.find("x"));
	for (uint32_t relation = 100; relation < 5000; ++relation)
		ASSERT_TRUE(cache.find(test::shape_of(relation, "public.t", {}, {}).encode()));
	const ShapePtr again = cache.find(encoded);
	EXPECT_NE(again, first);
	EXPECT_EQ(again->identity, first->identity);
}

}  // namespace
}  // namespace plank::core
