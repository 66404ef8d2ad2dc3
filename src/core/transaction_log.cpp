// Keeping the shared log within its limits. Runs in the worker. Must not call PostgreSQL.
#include "core/transaction_log.hpp"

#include <algorithm>

namespace plank::core {

namespace {

// A body smaller than this stays in memory when the rest is spilled: a file each would cost more.
constexpr size_t kSmallest = 16 * 1024;

size_t memory_of(const LogEntry& entry)
{
	size_t size = sizeof(LogEntry) + entry.transaction.body.capacity();
	size += entry.tables.capacity() * sizeof(Touched) + entry.transaction.shapes.capacity() * sizeof(ShapePtr);
	for (const std::string& channel : entry.channels)
		size += sizeof channel + channel.capacity();
	for (const Reset& reset : entry.resets)
		size += sizeof reset + reset.reason.capacity();
	return size;
}

}  // namespace

LogEntry& TransactionLog::append(LogEntry&& entry)
{
	entry.number = end();
	entry.memory = memory_of(entry);
	memory_ += entry.memory;
	entries_.push_back(std::move(entry));
	return entries_.back();
}

void TransactionLog::drop_first() noexcept
{
	const LogEntry& entry = entries_.front();
	memory_ -= entry.memory;
	if (entry.spilled) spilled_ -= entry.spilled->bytes().size();
	entries_.pop_front();
	++first_;
}

uint64_t TransactionLog::trim(uint64_t needed, std::string& error)
{
	// Some more than must go, for every look at what is needed costs a look at all clients. A file is not kept for history.
	const size_t keep = memory_ > limits_.memory ? limits_.memory - limits_.memory / 16 : limits_.memory;
	while (first_ < needed && first_ < end() && (memory_ > keep || entries_.front().spilled))
		drop_first();

	spill_next_ = std::max(spill_next_, first_);
	for (; memory_ > limits_.memory && spill_next_ < end(); ++spill_next_) {
		LogEntry& entry = entries_[spill_next_ - first_];
		if (entry.spilled || entry.transaction.body.size() < kSmallest) continue;
		if (spilled_ + entry.transaction.body.size() > limits_.spill) break;
		entry.spilled = SpillFile::write(limits_.directory, entry.transaction.body, error);
		if (!entry.spilled) break;
		spilled_ += entry.spilled->bytes().size();
		memory_ -= entry.memory;
		// Assigning an empty string would keep the memory.
		std::string().swap(entry.transaction.body);
		entry.memory = memory_of(entry);
		memory_ += entry.memory;
	}

	// What fits neither in memory nor on disk goes, oldest first, whoever needs it. Twice the limit is the slack for small
	// transactions that were not worth a file.
	while (memory_ > 2 * limits_.memory && first_ < end())
		drop_first();
	while (spilled_ > limits_.spill && first_ < end())
		drop_first();
	spill_next_ = std::max(spill_next_, first_);
	trim_at_ = memory_ + limits_.memory / 16;
	return first_;
}

}  // namespace plank::core
