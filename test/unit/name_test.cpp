// Table names as clients write them.
#include "core/name.hpp"

#include <gtest/gtest.h>

namespace plank::core {
namespace {

std::string read(std::string_view text)
{
	const auto name = parse_table_name(text);
	return name ? "[" + name->schema + "][" + name->name + "]" : "none";
}

TEST(TableName, WithoutASchemaIsPublic)
{
	EXPECT_EQ(read("items"), "[public][items]");
	EXPECT_EQ(read("shop.items"), "[shop][items]");
}

TEST(TableName, FoldsUnquotedPartsAndKeepsQuotedOnes)
{
	EXPECT_EQ(read("Items"), "[public][items]");
	EXPECT_EQ(read("PUBLIC.\"My.Table\""), "[public][My.Table]");
	EXPECT_EQ(read("\"A\"\"b\".\" c \""), "[A\"b][ c ]");
	EXPECT_EQ(read("\u00c4pfel"), "[public][\u00c4pfel]");
}

TEST(TableName, SpaceAroundPartsIsIgnored) { EXPECT_EQ(read("  shop . \"Items\"\t\n"), "[shop][Items]"); }

TEST(TableName, AQuoteInsideAnUnquotedPartIsPartOfIt)
{
	EXPECT_EQ(read("a\"b"), "[public][a\"b]");
	EXPECT_EQ(read("a\"B\".c"), "[a\"b\"][c]");
}

TEST(TableName, RefusesWhatIsNoName)
{
	for (const char* text :
	     {"", " ", ".", "a.", ".a", "a..b", "a.b.c", "\"\"", "\"a", "a.\"b", "\"a\"b", "a b", "\"a\" \"b\"", "a.b c"})
		EXPECT_EQ(read(text), "none") << text;
}

TEST(TableName, CutsLongNamesBetweenCharactersAsPostgresDoes)
{
	EXPECT_EQ(read(std::string(63, 'x')), "[public][" + std::string(63, 'x') + "]");
	EXPECT_EQ(read(std::string(64, 'x')), "[public][" + std::string(63, 'x') + "]");
	EXPECT_EQ(read(std::string(62, 'x') + "\u00e9"), "[public][" + std::string(62, 'x') + "]");
	EXPECT_EQ(read(std::string(61, 'x') + "\u00e9y"), "[public][" + std::string(61, 'x') + "\u00e9]");
	EXPECT_EQ(read(std::string(60, 'x') + "\U0001F600"), "[public][" + std::string(60, 'x') + "]");
}

}  // namespace
}  // namespace plank::core
