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
      heads_(64, kNone)
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

uint32_t FilterIndex::add(Datum value, uint32_t filter)
{
	const uint32 hash = DatumGetUInt32(FunctionCall1Coll(&constant_hash_, collation_, value));
	uint32_t* const head = &heads_[hash & (heads_.size() - 1)];
	for (uint32_t at = *head; at != kNone; at = entries_[at].next) {
		Entry& entry = entries_[at];
		// By its bytes: values that are equal and look different have entries of their own, and all of them are found.
		if (entry.hash != hash || !datumIsEqual(entry.value, value, by_value_, length_)) continue;
		if (!entry.more) entry.more = std::make_unique<std::vector<uint32_t>>(1, entry.filter);
		entry.more->push_back(filter);
		return at;
	}
	const MemoryContext caller = MemoryContextSwitchTo(memory_);
	const Datum copy = datumCopy(value, by_value_, length_);
	MemoryContextSwitchTo(caller);
	if (free_.empty()) {
		entries_.emplace_back();
		// `unlink` must not fail.
		free_.reserve(entries_.capacity());
		free_.push_back(static_cast<uint32_t>(entries_.size() - 1));
	}
	const uint32_t place = free_.back();
	Entry& entry = entries_[place];
	entry.filter = filter;
	free_.pop_back();
	entry.value = copy;
	entry.hash = hash;
	entry.next = *head;
	*head = place;
	if (entries_.size() > heads_.size()) grow();
	return place;
}

void FilterIndex::grow()
{
	heads_.assign(heads_.size() * 2, kNone);
	for (uint32_t at = 0; at < entries_.size(); ++at) {
		if (entries_[at].filter == kNone) continue;
		uint32_t& head = heads_[entries_[at].hash & (heads_.size() - 1)];
		entries_[at].next = head;
		head = at;
	}
}

void FilterIndex::unlink(uint32_t place) noexcept
{
	Entry& entry = entries_[place];
	uint32_t* link = &heads_[entry.hash & (heads_.size() - 1)];
	while (*link != place)
		link = &entries_[*link].next;
	*link = entry.next;
	if (!by_value_) pfree(DatumGetPointer(entry.value));
	entry = Entry{};
	free_.push_back(place);
}

void FilterIndex::remove(uint32_t place, uint32_t filter) noexcept
{
	Entry& entry = entries_[place];
	if (!entry.more) {
		if (entry.filter == filter) unlink(place);
		return;
	}
	std::vector<uint32_t>& filters = *entry.more;
	const auto found = std::find(filters.begin(), filters.end(), filter);
	if (found == filters.end()) return;
	*found = filters.back();
	filters.pop_back();
	entry.filter = filters.front();
	if (filters.size() == 1) entry.more.reset();
}

size_t FilterIndex::memory() const
{
	size_t bytes = MemoryContextMemAllocated(memory_, true) + heads_.capacity() * sizeof(uint32_t) +
	               entries_.capacity() * sizeof(Entry) + free_.capacity() * sizeof(uint32_t);
	for (const Entry& entry : entries_)
		if (entry.more) bytes += sizeof *entry.more + entry.more->capacity() * sizeof(uint32_t);
	return bytes;
}

}  // namespace plank::worker
