// What the tests of the assembler share: limits, a table, and what a transaction tells.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/assembler.hpp"
#include "records.hpp"

namespace plank::test {

using Strings = std::vector<std::string>;

inline core::Shape items(uint32_t relation = 7)
{
	return shape_of(relation, "public.t", {{"id", "integer"}, {"v", "text"}}, {0});
}

inline core::Assembler::Limits limits(size_t memory = 16 << 20, size_t spill = 1 << 30)
{
	return {memory, spill, ::testing::TempDir()};
}

// What a transaction says, in order: a row's first value, a message's payload, R and L for resets and losses.
inline Strings told(const core::Transaction& transaction)
{
	Strings list;
	core::RecordReader reader(transaction.body);
	core::Record record;
	while (reader.next(record)) {
		if (record.is_change())
			list.emplace_back(core::Reader(record.image).counted());
		else if (record.tag == core::Tag::message)
			list.emplace_back(record.payload);
		else if (record.tag == core::Tag::reset)
			list.push_back("R" + std::to_string(record.relation));
		else
			list.emplace_back("L");
	}
	return list;
}

inline core::Transaction finish(core::Assembly& assembly)
{
	// The shortest slices there can be.
	while (!assembly.step(core::Assembly::Clock::time_point::min())) {}
	return assembly.take();
}

}  // namespace plank::test
