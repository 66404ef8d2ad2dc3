// Which filters ask for a value of a column: a hash on typed values, with the operator's own hash functions and collation,
// confirmed by calling the operator. Right for whatever the operator calls equal: numeric 1.0 = 1.00, char(n), citext,
// bigint = integer, nondeterministic collations. Runs in the worker. Functions that say so may ereport: call them inside
// pg::call; an index whose `add` failed is as before.
#pragma once

#include <cstdint>
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

	// Makes a filter found by one of its values; returns what to remove it by. `certain`: a row with the value passes, and
	// the filter has no other value. May ereport.
	uint32_t add(Datum value, uint32_t filter, bool certain);
	void remove(uint32_t hash, uint32_t filter) noexcept;
	// No row passes for certain any more.
	void doubt(uint32_t hash, uint32_t filter) noexcept;
	bool is_empty() const noexcept { return used_ == 0; }
	size_t memory() const;

	// Calls `found` with the filters of every value that equals `value`, and whether they are certain: where that may be
	// known it is, but for values that several filters have. May ereport, also out of the middle.
	template <typename F>
	void probe(Datum value, F&& found)
	{
		if (is_empty()) return;
		const uint32 hash = DatumGetUInt32(FunctionCall1Coll(&column_hash_, collation_, value));
		for (size_t at = hash & mask(); slots_[at].filter != kNone; at = (at + 1) & mask()) {
			const Slot& slot = slots_[at];
			if (slot.hash == hash && DatumGetBool(FunctionCall2Coll(&equal_, collation_, value, slot.value)))
				visit(slot, found);
		}
	}
	// All that are in it, some perhaps more than once.
	template <typename F>
	void for_each(F&& found) const
	{
		for (const Slot& slot : slots_)
			if (slot.filter != kNone) visit(slot, found);
	}

 private:
	static constexpr uint32_t kNone = UINT32_MAX;
	static constexpr uint32_t kSeveral = 1u << 31, kCertain = 1u << 30;
	// A place of a hash with open addressing, a quarter of a cache line: with very many values each look is a cache miss,
	// so a value is found with one, and most values have one filter.
	struct Slot {
		Datum value = 0;
		uint32_t hash = 0;
		uint32_t filter = kNone;  // kNone: free; with kSeveral: place in several_; with kCertain: see above
	};

	size_t mask() const noexcept { return slots_.size() - 1; }
	template <typename F>
	void visit(const Slot& slot, F& found) const
	{
		if (slot.filter & kSeveral) return found(std::span<const uint32_t>(several_[slot.filter & ~kSeveral]), false);
		const uint32_t filter = slot.filter & ~kCertain;
		found(std::span<const uint32_t>(&filter, 1), (slot.filter & kCertain) != 0);
	}
	void join(Slot& slot, uint32_t filter);
	void grow();
	void unlink(size_t at) noexcept;

	const AttrNumber column_;
	const Oid op_, collation_, constant_type_;
	const int16 length_;
	const bool by_value_;
	MemoryContext memory_ = nullptr;  // values, and caches of the functions
	FmgrInfo column_hash_, constant_hash_, equal_;
	std::vector<Slot> slots_;  // a power of two; a quarter of them at least is free
	size_t used_ = 0;
	std::vector<std::vector<uint32_t>> several_;  // of values with more filters than one
	std::vector<uint32_t> free_several_;          // there is room for all
};

}  // namespace plank::worker
