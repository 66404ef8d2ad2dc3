// A change's row, column by column, with the texts that stand beside its JSON.
#include "core/row.hpp"

#include <gtest/gtest.h>

#include "records.hpp"

namespace plank::core {
namespace {

Shape with_texts()
{
	Shape shape = test::shape_of(
	    7, "public.t", {{"id", "integer"}, {"a", "integer[]"}, {"b", "text"}, {"c", "double precision"}}, {0});
	shape.columns[1].with_text = shape.columns[3].with_text = true;
	shape.derive();
	return shape;
}

using Pairs = std::vector<std::pair<uint64_t, std::string>>;

void append_pairs(std::string& content, const Pairs& pairs)
{
	append_varint(content, pairs.size());
	for (const auto& [number, value] : pairs) {
		append_varint(content, number);
		append_counted(content, value);
	}
}

std::string content_of(const std::vector<std::string>& image, const std::vector<std::string>& texts)
{
	std::string content;
	append_varint(content, 0);
	for (const std::string& value : image)
		append_counted(content, value);
	for (const std::string& text : texts)
		append_counted(content, text);
	return content;
}

std::string update_of(const std::vector<std::string>& image, const Pairs& former, const std::vector<std::string>& texts,
                      const Pairs& former_texts)
{
	std::string content = content_of(image, {});
	append_pairs(content, former);
	for (const std::string& text : texts)
		append_counted(content, text);
	append_pairs(content, former_texts);
	return content;
}

struct Change {
	Transaction transaction;
	Record record;
	bool taken = false;

	Change(const Shape& shape, Tag tag, const std::string& content)
	{
		std::string body;
		append_varint(body, 1);
		append_counted(body, shape.encode());
		append_record(body, tag, content);
		ShapeCache cache;
		taken = read_body(std::move(body), transaction, cache);
		if (!taken) return;
		RecordReader reader(transaction.body);
		reader.next(record);
	}
	Row row() const
	{
		Row row;
		row.read(record, *transaction.shapes[0]);
		return row;
	}
};

TEST(Row, HasJsonAndTextOfEveryColumn)
{
	const Change change(with_texts(), Tag::insert, content_of({"1", "[1]", "", "0"}, {"={1}", "=-0"}));
	ASSERT_TRUE(change.taken);
	const Row row = change.row();
	EXPECT_EQ(row.now(0).json, "1");
	EXPECT_EQ(row.now(0).text, "");
	EXPECT_EQ(row.now(1).json, "[1]");
	EXPECT_EQ(row.now(1).text, "={1}");
	EXPECT_TRUE(row.now(2).is_null());
	EXPECT_EQ(row.now(3).text, "=-0");
	EXPECT_TRUE(row.differences().empty());
}

TEST(Row, BeforeAnUpdateIsWhatDiffered)
{
	const Change change(
	    with_texts(), Tag::update,
	    update_of({"1", "[1]", "\"x\"", "0"}, {{2, ""}}, {"={1}", "=-0"}, {{0, "=[0:0]={1}"}, {1, ""}}));
	ASSERT_TRUE(change.taken);
	const Row row = change.row();
	EXPECT_EQ(row.before(0), row.now(0));
	EXPECT_EQ(row.before(1), (ColumnImage{"[1]", "=[0:0]={1}"}));
	EXPECT_TRUE(row.differs(1)) << "the same JSON and another value";
	EXPECT_TRUE(row.before(2).is_null());
	EXPECT_EQ(row.before(3), (ColumnImage{"0", ""}));
	EXPECT_EQ(row.differences().size(), 3u);
}

TEST(Row, IsUsedAgain)
{
	const Change update(with_texts(), Tag::update, update_of({"1", "", "", ""}, {{1, "[2]"}}, {"", ""}, {{0, "={2}"}}));
	const Change removal(with_texts(), Tag::remove, content_of({"2", "[3]", "\"y\"", "1"}, {"={3}", ""}));
	Row row = update.row();
	EXPECT_EQ(row.before(1).text, "={2}");
	row.read(removal.record, *removal.transaction.shapes[0]);
	EXPECT_FALSE(row.differs(1));
	EXPECT_EQ(row.before(1), row.now(1));
	EXPECT_EQ(row.now(1).json, "[3]");
}

TEST(Body, TextsMustBeThoseOfTheShape)
{
	const auto takes = [](Tag tag, const std::string& content) { return Change(with_texts(), tag, content).taken; };
	EXPECT_TRUE(takes(Tag::insert, content_of({"1", "", "", ""}, {"", ""})));
	EXPECT_FALSE(takes(Tag::insert, content_of({"1", "", "", ""}, {""})));
	EXPECT_FALSE(takes(Tag::insert, content_of({"1", "", "", ""}, {})));
	EXPECT_FALSE(takes(Tag::insert, content_of({"1", "", "", ""}, {"", "", ""})));
	EXPECT_TRUE(takes(Tag::update, update_of({"1", "", "", ""}, {}, {"", ""}, {})));
	EXPECT_FALSE(takes(Tag::update, update_of({"1", "", "", ""}, {}, {"", ""}, {{2, "x"}})));
	EXPECT_FALSE(takes(Tag::update, update_of({"1", "", "", ""}, {{4, "x"}}, {"", ""}, {})));
	EXPECT_FALSE(takes(Tag::update, content_of({"1", "", "", ""}, {"", ""})));
	EXPECT_TRUE(takes(Tag::truncate, content_of({}, {})));
}

}  // namespace
}  // namespace plank::core
