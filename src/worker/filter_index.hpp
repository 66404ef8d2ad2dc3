// Which filters ask for a value of a column: a hash on typed values, with the operator's own hash functions and collation,
// confirmed by calling the operator. Right for whatever the operator calls equal: numeric 1.0 = 1.00, char(n), citext,
// bigint = integer, nondeterministic collations. Runs in the worker. Functions that say so may ereport: call them inside
// pg::call; an index whose `add` failed is as before.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "worker/filter_condition.hpp"

namespace plank::worker {

class FilterIndex {
 public:
	explicit FilterIndex(const FilterKey& key);
	~FilterIndex();
	FilterIndex(const FilterIndex&) = delete;
	FilterIndex& operator=(const FilterIndex&) = delete;
	// Before anything else: looks the functions up. May ereport.
	void open(const FilterKey& key);

	bool serves(const FilterKey& key) const noexcept;
	AttrNumber column() const noexcept { return column_; }

	// Makes a filter found by one of its values; returns the place to remove it from. May ereport.
	uint32_t add(Datum value, uint32_t filter);
	void remove(uint32_t place, uint32_t filter) noexcept;
	bool is_empty() const noexcept { return entries_.size() == free_.size(); }
	size_t memory() const;

	// Calls `found` with the filters of every value that equals `value`. May ereport, also out of the middle.
	template <typename F>
	void probe(Datum value, F&& found)
	{
		if (is_empty()) return;
		const uint32 hash = DatumGetUInt32(FunctionCall1Coll(&column_hash_, collation_, value));
		for (uint32_t at = heads_[hash & (heads_.size() - 1)]; at != kNone; at = entries_[at].next) {
			const Entry& entry = entries_[at];
			if (entry.hash == hash && DatumGetBool(FunctionCall2Coll(&equal_, collation_, value, entry.value)))
				found(entry.filters());
		}
	}
	// All that are in it, some perhaps more than once.
	template <typename F>
	void for_each(F&& found) const
	{
		for (const Entry& entry : entries_)
			found(entry.filters());
	}

 private:
	static constexpr uint32_t kNone = UINT32_MAX;
	// Half a cache line: with very many values each look at one is a cache miss, and most have one filter.
	struct Entry {
		Datum value = 0;
		uint32_t hash = 0;
		uint32_t next = kNone;
		uint32_t filter = kNone;                      // the first; kNone: the entry is free
		std::unique_ptr<std::vector<uint32_t>> more;  // all of them, when there are several
		std::span<const uint32_t> filters() const noexcept
		{
			if (more) return *more;
			return {&filter, filter == kNone ? 0u : 1u};
		}
	};

	void grow();
	void unlink(uint32_t place) noexcept;

	const AttrNumber column_;
	const Oid op_, collation_, constant_type_;
	const int16 length_;
	const bool by_value_;
	MemoryContext memory_ = nullptr;  // values, and caches of the functions
	FmgrInfo column_hash_, constant_hash_, equal_;
	std::vector<uint32_t> heads_;  // a power of two
	std::vector<Entry> entries_;
	std::vector<uint32_t> free_;
};

}  // namespace plank::worker
