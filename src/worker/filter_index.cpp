// The hash from values to filters. Runs in the worker.
#include "worker/filter_index.hpp"

#include <algorithm>

namespace plank::worker {

FilterIndex::FilterIndex(const FilterKey& key)
    : column_(key.column),
      op_(key.op),
      collation_(key.collation),
      constant_type_(key.constant_type),
      length_(key.length),
      by_value_(key.by_value),
      slots_(64)
{}

FilterIndex::~FilterIndex()
{
	if (memory_) MemoryContextDelete(memory_);
}

void FilterIndex::open(const FilterKey& key)
{
	memory_ = AllocSetContextCreate(TopMemoryContext, "plank filter index", ALLOCSET_SMALL_SIZES);
	fmgr_info_cxt(key.column_hash, &column_hash_, memory_);
	fmgr_info_cxt(key.constant_hash, &constant_hash_, memory_);
	fmgr_info_cxt(get_opcode(key.op), &equal_, memory_);
}

bool FilterIndex::serves(const FilterKey& key) const noexcept
{
	return key.column == column_ && key.op == op_ && key.collation == collation_ && key.constant_type == constant_type_;
}

uint32_t FilterIndex::add(Datum value, uint32_t filter, bool certain)
{
	const uint32 hash = DatumGetUInt32(FunctionCall1Coll(&constant_hash_, collation_, value));
	if ((used_ + 1) * 4 > slots_.size() * 3) grow();
	size_t at = hash & mask();
	for (; slots_[at].filter != kNone; at = (at + 1) & mask()) {
		Slot& slot = slots_[at];
		// By its bytes: values that are equal and look different have slots of their own, and all of them are found.
		if (slot.hash != hash || !datumIsEqual(slot.value, value, by_value_, length_)) continue;
		join(slot, filter);
		return hash;
	}
	const MemoryContext caller = MemoryContextSwitchTo(memory_);
	slots_[at] = {datumCopy(value, by_value_, length_), hash, certain ? filter | kCertain : filter};
	MemoryContextSwitchTo(caller);
	++used_;
	return hash;
}

void FilterIndex::join(Slot& slot, uint32_t filter)
{
	if (slot.filter & kSeveral) {
		several_[slot.filter & ~kSeveral].push_back(filter);
		return;
	}
	std::vector<uint32_t> both = {slot.filter & ~kCertain, filter};
	if (free_several_.empty()) {
		several_.emplace_back();
		// `remove` must not fail.
		free_several_.reserve(several_.capacity());
		free_several_.push_back(static_cast<uint32_t>(several_.size() - 1));
	}
	const uint32_t place = free_several_.back();
	free_several_.pop_back();
	several_[place] = std::move(both);
	slot.filter = place | kSeveral;
}

void FilterIndex::grow()
{
	std::vector<Slot> former(slots_.size() * 2);
	former.swap(slots_);
	for (const Slot& slot : former) {
		if (slot.filter == kNone) continue;
		size_t at = slot.hash & mask();
		while (slots_[at].filter != kNone)
			at = (at + 1) & mask();
		slots_[at] = slot;
	}
}

// What stands behind a free slot would not be found, so it moves up.
void FilterIndex::unlink(size_t at) noexcept
{
	if (!by_value_) pfree(DatumGetPointer(slots_[at].value));
	for (size_t next = (at + 1) & mask(); slots_[next].filter != kNone; next = (next + 1) & mask()) {
		const size_t from_home = (next - slots_[next].hash) & mask();
		if (from_home < ((next - at) & mask())) continue;
		slots_[at] = slots_[next];
		at = next;
	}
	slots_[at] = Slot{};
	--used_;
}

void FilterIndex::remove(uint32_t hash, uint32_t filter) noexcept
{
	for (size_t at = hash & mask(); slots_[at].filter != kNone; at = (at + 1) & mask()) {
		Slot& slot = slots_[at];
		if (slot.hash != hash) continue;
		if ((slot.filter & ~kCertain) == filter) return unlink(at);
		if (!(slot.filter & kSeveral)) continue;
		const uint32_t place = slot.filter & ~kSeveral;
		std::vector<uint32_t>& all = several_[place];
		const auto found = std::find(all.begin(), all.end(), filter);
		if (found == all.end()) continue;
		*found = all.back();
		all.pop_back();
		if (all.size() > 1) return;
		slot.filter = all.front();
		std::vector<uint32_t>().swap(all);
		free_several_.push_back(place);
		return;
	}
}

void FilterIndex::doubt(uint32_t hash, uint32_t filter) noexcept
{
	for (size_t at = hash & mask(); slots_[at].filter != kNone; at = (at + 1) & mask())
		if (slots_[at].hash == hash && slots_[at].filter == (filter | kCertain)) slots_[at].filter = filter;
}

size_t FilterIndex::memory() const
{
	size_t bytes = MemoryContextMemAllocated(memory_, true) + slots_.capacity() * sizeof(Slot) +
	               several_.capacity() * sizeof(several_[0]) + free_several_.capacity() * sizeof(uint32_t);
	for (const std::vector<uint32_t>& filters : several_)
		bytes += filters.capacity() * sizeof(uint32_t);
	return bytes;
}

}  // namespace plank::worker
