// Writing chunks for tests, as the capture side does.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/chunk.hpp"
#include "core/record.hpp"
#include "core/shape.hpp"

namespace plank::test {

// A chunk under construction; records are added in the order of their keys.
class ChunkBytes {
 public:
	ChunkBytes(uint64_t xid, uint64_t number, uint64_t first_lsn = 1)
	    : xid_(xid), number_(number), first_lsn_(first_lsn)
	{}

	ChunkBytes& shape(uint32_t number, const core::Shape& shape)
	{
		shapes_[number] = shape.encode();
		return *this;
	}
	ChunkBytes& record(core::RecordKey key, core::Tag tag, std::string_view content)
	{
		if (runs_.empty() || !runs_.back().precedes(key)) runs_.push_back({key, 0});
		++runs_.back().count;
		core::append_record(records_, tag, content);
		return *this;
	}
	// A row of `shape`; values are JSON texts, an empty one is null.
	ChunkBytes& row(core::RecordKey key, core::Tag tag, uint32_t shape, const std::vector<std::string>& values)
	{
		std::string content;
		core::append_varint(content, shape);
		for (const std::string& value : values)
			core::append_counted(content, value);
		return record(key, tag, content);
	}
	ChunkBytes& message(core::RecordKey key, std::string_view channel, std::string_view payload)
	{
		std::string content;
		core::append_counted(content, channel);
		content += payload;
		return record(key, core::Tag::message, content);
	}
	ChunkBytes& reset(core::RecordKey key, uint32_t relation, std::string_view reason)
	{
		std::string content;
		core::append_varint(content, relation);
		content += reason;
		return record(key, core::Tag::reset, content);
	}
	ChunkBytes& lost(core::RecordKey key, const std::vector<uint32_t>& relations)
	{
		std::string content;
		for (const uint32_t relation : relations)
			core::append_varint(content, relation);
		return record(key, core::Tag::lost, content);
	}
	std::string bytes() const
	{
		char buffer[core::kMaxChunkHead];
		std::string out(buffer, static_cast<size_t>(core::put_chunk_head(buffer, xid_, number_, first_lsn_)));
		core::append_varint(out, runs_.size());
		for (const core::KeyRun& run : runs_)
			out.append(buffer, static_cast<size_t>(core::put_key_run(buffer, run)));
		core::append_varint(out, shapes_.size());
		for (const auto& [number, encoded] : shapes_) {
			core::append_varint(out, number);
			core::append_counted(out, encoded);
		}
		return out + records_;
	}

 private:
	uint64_t xid_, number_, first_lsn_;
	std::vector<core::KeyRun> runs_;
	std::map<uint32_t, std::string> shapes_;
	std::string records_;
};

}  // namespace plank::test
