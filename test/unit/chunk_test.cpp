// Chunks: read back with every record's key, and refused at the first fault.
#include "core/chunk.hpp"

#include <gtest/gtest.h>

#include <random>

#include "chunks.hpp"
#include "records.hpp"

namespace plank::core {
namespace {

using test::ChunkBytes;

Shape two_columns(uint32_t relation = 7)
{
	return test::shape_of(relation, "public.t", {{"id", "integer"}, {"v", "text"}}, {0});
}

bool takes(std::string_view bytes)
{
	Chunk chunk;
	return read_chunk(bytes, chunk);
}

// Every record of a chunk as "command.ordinal tag", in order.
std::string told(const Chunk& chunk)
{
	std::string text;
	ChunkRecords records(chunk);
	while (records.next()) {
		if (!text.empty()) text += ' ';
		text += std::to_string(records.key().command) + '.' + std::to_string(records.key().ordinal);
		text += static_cast<char>(records.record().tag);
	}
	return text;
}

TEST(Chunk, ReadsBackWithEveryKey)
{
	ChunkBytes written(uint64_t{5} << 32, 3, 0x16B3740);
	written.shape(0, two_columns()).shape(4, two_columns(9));
	written.row({0, 0}, Tag::insert, 0, {"1", "\"a\""}).row({0, 1}, Tag::insert, 4, {"2", ""});
	written.row({0, 5}, Tag::remove, 0, {"1", ""}).row({1, 3}, Tag::truncate, 4, {});
	written.message({2, 6}, "jobs", "{}").reset({2, 7}, 7, "attached").lost({9, 8}, {7, 9});
	const std::string bytes = written.bytes();
	Chunk chunk;
	ASSERT_TRUE(read_chunk(bytes, chunk));
	EXPECT_EQ(chunk.xid, uint64_t{5} << 32);
	EXPECT_EQ(chunk.number, 3u);
	EXPECT_EQ(chunk.first_lsn, 0x16B3740u);
	EXPECT_EQ(chunk.count, 7u);
	EXPECT_EQ(chunk.first, (RecordKey{0, 0}));
	EXPECT_EQ(chunk.last, (RecordKey{9, 8}));
	EXPECT_EQ(told(chunk), "0.0I 0.1I 0.5D 1.3T 2.6M 2.7R 9.8L");
	ASSERT_EQ(chunk.shapes.size(), 2u);
	ASSERT_TRUE(chunk.shape(4));
	EXPECT_EQ(Shape::decode(chunk.shape(4)->encoded)->relation, 9u);
	EXPECT_FALSE(chunk.shape(1));
	EXPECT_FALSE(chunk.shape(5));
}

TEST(Chunk, RecordsBytesTogetherAreItsRecords)
{
	ChunkBytes written(7, 0);
	written.shape(0, two_columns());
	for (uint32_t i = 0; i < 300; ++i)
		written.row({i / 7, i}, Tag::insert, 0, {std::to_string(i), std::string(i, 'x')});
	const std::string bytes = written.bytes();
	Chunk chunk;
	ASSERT_TRUE(read_chunk(bytes, chunk));
	std::string together;
	ChunkRecords records(chunk);
	while (records.next())
		together += records.bytes();
	EXPECT_EQ(together, chunk.records);
	EXPECT_EQ(chunk.count, 300u);
}

TEST(Chunk, ARunIsAsShortAsItsRecordsAreAlike)
{
	ChunkBytes alike(7, 0);
	for (uint64_t i = 0; i < 1000; ++i)
		alike.message({1, i}, "c", "");
	Chunk chunk;
	const std::string bytes = alike.bytes();
	ASSERT_TRUE(read_chunk(bytes, chunk));
	EXPECT_LE(chunk.keys.size(), 5u);
	EXPECT_EQ(chunk.last, (RecordKey{1, 999}));
}

TEST(Chunk, HeadFitsWhateverItSays)
{
	char head[kMaxChunkHead];
	EXPECT_LE(static_cast<size_t>(put_chunk_head(head, UINT64_MAX - 1, UINT64_MAX - 1, UINT64_MAX - 1)), sizeof head);
	char run[kMaxKeyRun];
	EXPECT_LE(static_cast<size_t>(put_key_run(run, {{UINT32_MAX, UINT64_MAX - 2}, 1})), sizeof run);
}

TEST(Chunk, WhatIsNoChunkIsRefused)
{
	EXPECT_FALSE(takes(""));
	EXPECT_FALSE(takes("1"));
	EXPECT_FALSE(takes("hello"));
	EXPECT_FALSE(takes(std::string(100, '\0')));
	EXPECT_FALSE(takes(ChunkBytes(0, 0).message({0, 0}, "c", "").bytes())) << "no transaction";
	EXPECT_FALSE(takes(ChunkBytes(7, 0, 0).message({0, 0}, "c", "").bytes())) << "no first LSN";
	EXPECT_FALSE(takes(ChunkBytes(7, 0).bytes())) << "no record";
	EXPECT_TRUE(takes(ChunkBytes(7, 0).message({0, 0}, "c", "").bytes()));
}

TEST(Chunk, KeysThatGoBackAreRefused)
{
	EXPECT_FALSE(takes(ChunkBytes(7, 0).message({1, 0}, "c", "").message({0, 1}, "c", "").bytes()));
	EXPECT_FALSE(takes(ChunkBytes(7, 0).message({1, 5}, "c", "").message({1, 4}, "c", "").bytes()));
	EXPECT_FALSE(takes(ChunkBytes(7, 0).message({1, 5}, "c", "").message({1, 5}, "c", "").bytes()));
}

TEST(Chunk, AShapeThatIsMissingOrNamedTwiceIsRefused)
{
	EXPECT_FALSE(takes(ChunkBytes(7, 0).shape(1, two_columns()).row({0, 0}, Tag::insert, 0, {"1", ""}).bytes()));
	ChunkBytes once(7, 0);
	once.shape(0, two_columns()).row({0, 0}, Tag::insert, 0, {"1", ""});
	const std::string bytes = once.bytes();
	ASSERT_TRUE(takes(bytes));
	std::string shape;
	append_varint(shape, 0);
	append_counted(shape, two_columns().encode());
	const size_t at = bytes.find(shape);
	ASSERT_NE(at, std::string::npos);
	std::string twice = bytes;
	twice.insert(at, shape);
	char two[kMaxVarint];
	ASSERT_EQ(put_varint(two, 2), 1);
	twice[at - 1] = two[0];
	EXPECT_FALSE(takes(twice));
}

TEST(Chunk, MoreOrFewerRecordsThanKeysAreRefused)
{
	const std::string one = ChunkBytes(7, 0).message({0, 0}, "c", "").bytes();
	std::string content, record;
	append_counted(content, "c");
	append_record(record, Tag::message, content);
	EXPECT_FALSE(takes(one + record));
	EXPECT_FALSE(takes(std::string_view(one).substr(0, one.size() - record.size())));
}

TEST(Chunk, NoByteMissingOrChangedDoesHarm)
{
	const uint32_t seed = std::random_device{}();
	SCOPED_TRACE("seed " + std::to_string(seed));
	std::mt19937 random(seed);
	ChunkBytes written(70000, 300, 1 << 30);
	written.shape(0, two_columns()).shape(200, two_columns(9));
	for (uint64_t i = 0; i < 40; ++i)
		written.row({static_cast<uint32_t>(i / 3), i}, Tag::insert, i % 2 ? 200 : 0, {"1", std::string(i * 9, 'x')});
	const std::string bytes = written.bytes();
	ASSERT_TRUE(takes(bytes));
	for (size_t length = 0; length < bytes.size(); ++length)
		EXPECT_FALSE(takes(std::string_view(bytes).substr(0, length))) << length;
	for (int i = 0; i < 20000; ++i) {
		std::string other = bytes;
		other[random() % other.size()] = static_cast<char>(random());
		Chunk chunk;
		if (!read_chunk(other, chunk)) continue;
		uint64_t count = 0;
		RecordKey last;
		for (ChunkRecords records(chunk); records.next(); ++count) {
			if (count > 0) {
				EXPECT_LT(last, records.key());
			}
			last = records.key();
		}
		EXPECT_EQ(count, chunk.count);
		EXPECT_EQ(last, chunk.last);
	}
}

}  // namespace
}  // namespace plank::core
