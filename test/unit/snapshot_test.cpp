// What passes between the worker and the processes that read snapshots.
#include "core/snapshot.hpp"

#include <gtest/gtest.h>

namespace plank::core {
namespace {

TEST(Visibility, SeesWhatWasOverAndNothingElse)
{
	const Visibility snapshot{100, 110, {100, 103, 109}};
	EXPECT_TRUE(snapshot.sees(3));
	EXPECT_TRUE(snapshot.sees(99));
	EXPECT_FALSE(snapshot.sees(100));
	EXPECT_TRUE(snapshot.sees(101));
	EXPECT_FALSE(snapshot.sees(103));
	EXPECT_FALSE(snapshot.sees(109));
	EXPECT_FALSE(snapshot.sees(110));
	EXPECT_FALSE(snapshot.sees(1ull << 40));
}

TEST(Visibility, OfAQuietServerSeesAllBelowXmax)
{
	const Visibility snapshot{(1ull << 33) + 5, (1ull << 33) + 5, {}};
	EXPECT_TRUE(snapshot.sees((1ull << 33) + 4));
	EXPECT_FALSE(snapshot.sees((1ull << 33) + 5));
}

TEST(SnapshotRequest, ComesBackAsItWent)
{
	SnapshotRequest request;
	request.relation = 4294967295u;
	request.columns =
	    std::make_shared<const std::vector<std::string>>(std::vector<std::string>{"", "My \"Column\" ż", "id"});
	request.numbers_as_text = true;
	request.condition = "a OPERATOR(pg_catalog.=) 'x\x01'";
	request.role = "wéb";
	const auto again = SnapshotRequest::decode(request.encode());
	ASSERT_TRUE(again);
	EXPECT_EQ(again->relation, request.relation);
	ASSERT_TRUE(again->columns);
	EXPECT_EQ(*again->columns, *request.columns);
	EXPECT_TRUE(again->numbers_as_text);
	EXPECT_EQ(again->condition, request.condition);
	EXPECT_EQ(again->role, request.role);

	// None but the key's are not all of them.
	request.columns = std::make_shared<const std::vector<std::string>>();
	const auto none = SnapshotRequest::decode(request.encode());
	ASSERT_TRUE(none && none->columns);
	EXPECT_TRUE(none->columns->empty());
	request.columns = nullptr;
	const auto all = SnapshotRequest::decode(request.encode());
	ASSERT_TRUE(all);
	EXPECT_FALSE(all->columns);
}

TEST(SnapshotHeader, ComesBackAsItWent)
{
	Shape shape;
	shape.relation = 7;
	shape.table = "public.items";
	shape.columns = {{"id", "bigint", Numbers::scalar}};
	shape.key = {0};
	shape.derive();
	const SnapshotHeader header{{(5ull << 32) + 1, (5ull << 32) + 900, {(5ull << 32) + 1, (5ull << 32) + 899}},
	                            0x1600000028,
	                            std::make_shared<const Shape>(shape)};
	const auto again = SnapshotHeader::decode(header.encode());
	ASSERT_TRUE(again);
	EXPECT_EQ(again->visibility.xmin, header.visibility.xmin);
	EXPECT_EQ(again->visibility.xmax, header.visibility.xmax);
	EXPECT_EQ(again->visibility.in_progress, header.visibility.in_progress);
	EXPECT_EQ(again->wal_end, header.wal_end);
	EXPECT_EQ(again->shape->identity, shape.identity);
}

TEST(SnapshotFailure, ComesBackAsItWent)
{
	const auto again = SnapshotFailure::decode(SnapshotFailure{"22012", "division by zero", "", true}.encode());
	ASSERT_TRUE(again);
	EXPECT_EQ(again->code, "22012");
	EXPECT_EQ(again->message, "division by zero");
	EXPECT_EQ(again->detail, "");
	EXPECT_TRUE(again->retry);
}

// Every truncation of good bytes, and bytes that promise more than there is.
TEST(SnapshotMessages, RefuseWhatIsCutShort)
{
	SnapshotRequest request;
	request.relation = 1;
	request.columns = std::make_shared<const std::vector<std::string>>(std::vector<std::string>{"id", "name"});
	request.role = "web";
	const std::string bytes = request.encode();
	for (size_t length = 0; length < bytes.size(); ++length)
		EXPECT_FALSE(SnapshotRequest::decode(std::string_view(bytes).substr(0, length))) << length;
	EXPECT_FALSE(SnapshotRequest::decode(bytes + "x"));

	const std::string failure = SnapshotFailure{"57014", "m", "d", false}.encode();
	for (size_t length = 0; length < failure.size(); ++length)
		EXPECT_FALSE(SnapshotFailure::decode(std::string_view(failure).substr(0, length))) << length;
	EXPECT_FALSE(SnapshotHeader::decode("\x02\x02\xff\xff\xff\x7f"));
	EXPECT_FALSE(SnapshotHeader::decode(""));
}

}  // namespace
}  // namespace plank::core
