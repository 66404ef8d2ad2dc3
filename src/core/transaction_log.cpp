// Keeping the shared log within its limits. Runs in the worker. Must not call PostgreSQL.
#include "core/transaction_log.hpp"

#include <algorithm>

#include "core/append_file.hpp"

namespace plank::core {

namespace {

// What the index of places costs for each entry.
constexpr size_t kIndexed = 48;
// A body smaller than this stays in memory when the rest is spilled: a file each would cost more.
constexpr size_t kSmallest = 16 * 1024;

size_t memory_of(const LogEntry& entry)
{
	size_t size = sizeof(LogEntry) + entry.body().memory() + entry.position.capacity() + kIndexed;
	size += entry.tables.capacity() * sizeof(Touched) + entry.transaction.shapes.capacity() * sizeof(ShapePtr);
	size += entry.matches.capacity() * sizeof(Match) + entry.unreadable.capacity() * sizeof(FilterId);
	for (const std::string& channel : entry.channels)
		size += sizeof channel + channel.capacity();
	for (const Reset& reset : entry.resets)
		size += sizeof reset + reset.reason.capacity() + reset.new_key.capacity() * sizeof(std::string);
	return size;
}

}  // namespace

std::span<const Match> LogEntry::matches_of(FilterId filter) const noexcept
{
	const auto [first, last] = std::equal_range(matches.begin(), matches.end(), Match{filter, false, false, 0},
	                                            [](const Match& a, const Match& b) { return a.filter < b.filter; });
	return {first, last};
}

LogEntry& TransactionLog::append(LogEntry&& entry)
{
	entry.number = end();
	entry.memory = memory_of(entry);
	entry.mapped = entry.body().mapped();
	memory_ += entry.memory;
	spilled_ += entry.mapped;
	if (entry.is_transaction()) by_place_.insert_or_assign(entry.transaction.place, entry.number);
	entries_.push_back(std::move(entry));
	return entries_.back();
}

void TransactionLog::set_matches(uint64_t number, std::vector<Match>&& matches, std::vector<FilterId>&& unreadable,
                                 uint64_t judged)
{
	LogEntry& entry = entries_[number - first_];
	memory_ -= entry.memory;
	entry.matches = std::move(matches);
	entry.unreadable = std::move(unreadable);
	entry.judged = judged;
	entry.memory = memory_of(entry);
	memory_ += entry.memory;
}

void TransactionLog::drop_first() noexcept
{
	const LogEntry& entry = entries_.front();
	memory_ -= entry.memory;
	spilled_ -= entry.mapped;
	if (const auto found = by_place_.find(entry.transaction.place); found != by_place_.end() && found->second == first_)
		by_place_.erase(found);
	complete_from_ = entry.place;
	entries_.pop_front();
	++first_;
}

void TransactionLog::drop_before(uint64_t entry) noexcept
{
	while (first_ < entry && first_ < end())
		drop_first();
}

// The same body in a file of its own; nothing when there is no room.
std::optional<Body> TransactionLog::on_disk(const Body& body, std::string& error) const
{
	const std::unique_ptr<AppendFile> file = AppendFile::create(limits_.directory, error);
	if (!file) return std::nullopt;
	for (const Body::Piece& piece : body.pieces())
		if (!file->append(piece.bytes, error)) return std::nullopt;
	const auto mapping = file->map(error);
	if (!mapping) return std::nullopt;
	Body moved;
	moved.add_mapped(mapping, mapping->bytes());
	return moved;
}

uint64_t TransactionLog::first_after(uint64_t place) const noexcept
{
	auto entry = std::lower_bound(entries_.begin(), entries_.end(), place,
	                              [](const LogEntry& a, uint64_t at) { return a.place < at; });
	// Of the entries at this very place the transaction comes first; resets and shapes stand after it.
	if (entry != entries_.end() && entry->place == place && entry->is_transaction()) ++entry;
	return first_ + static_cast<uint64_t>(entry - entries_.begin());
}

std::optional<uint64_t> TransactionLog::after_transaction(uint64_t place) const noexcept
{
	const auto found = by_place_.find(place);
	return found == by_place_.end() ? std::nullopt : std::optional(found->second + 1);
}

uint64_t TransactionLog::trim(uint64_t needed, std::string& error)
{
	// Some more than must go, for every look at what is needed costs a look at all clients. A file is not kept for history.
	const size_t soft = limits_.soft();
	const size_t keep = memory_ > soft ? soft - soft / 16 : soft;
	while (first_ < needed && first_ < end() && (memory_ > keep || entries_.front().mapped))
		drop_first();

	spill_next_ = std::max(spill_next_, first_);
	for (; memory_ > soft && spill_next_ < end(); ++spill_next_) {
		LogEntry& entry = entries_[spill_next_ - first_];
		if (entry.mapped || entry.body().size() < kSmallest) continue;
		if (spilled_ + entry.body().size() > limits_.spill) break;
		std::optional<Body> moved = on_disk(entry.body(), error);
		if (!moved) break;
		entry.transaction.body = *std::move(moved);
		memory_ -= entry.memory;
		entry.memory = memory_of(entry);
		memory_ += entry.memory;
		entry.mapped = entry.body().mapped();
		spilled_ += entry.mapped;
	}

	// What fits neither in memory nor on disk goes, oldest first, whoever needs it. Twice the limit is the slack for small
	// transactions that were not worth a file.
	while (memory_ > 2 * limits_.memory && first_ < end())
		drop_first();
	while (spilled_ > limits_.spill && first_ < end())
		drop_first();
	spill_next_ = std::max(spill_next_, first_);
	trim_at_ = memory_ + soft / 16;
	return first_;
}

}  // namespace plank::core
