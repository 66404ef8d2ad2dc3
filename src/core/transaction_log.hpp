// The shared log of recent transactions: every client's queue is a place in it. Entries are kept in memory up to
// plank.history_size; older ones that a slow client still needs move to temporary files, up to plank.spill_size; what fits
// nowhere is gone, and clients that needed it are cut.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/evaluator.hpp"
#include "core/record.hpp"
#include "core/reset.hpp"

namespace plank::core {

// A change whose row passes a filter, before it or after it.
struct Match {
	FilterId filter = 0;
	bool before = false, after = false;
	size_t offset = 0;  // of its record
};

// A table that has changes in an entry, and which.
struct Touched {
	uint32_t relation;
	OpSet ops;
};

struct LogEntry {
	uint64_t number = 0;
	Transaction transaction;            // without changes for a mere reset or shape
	std::vector<Touched> tables;        // sorted by relation
	std::vector<std::string> channels;  // that have messages here, sorted
	std::vector<Reset> resets;
	std::vector<Match> matches;        // by filter, then by offset: of every filter that was there by `judged`
	std::vector<FilterId> unreadable;  // filters that could not be judged here, rising
	uint64_t judged = 0;               // Hub::filters_born_ at the time
	ShapePtr new_shape;                // the table's shape from here on: `subscribed` is said again
	bool plain_notify = false;         // of another application's NOTIFY
	// Of the stream when the entry was made: the transaction's own, or where it stood.
	uint64_t place = 0;
	std::string position;
	size_t memory = 0, mapped = 0;

	const Body& body() const noexcept { return transaction.body; }
	bool is_transaction() const noexcept { return transaction.place != 0; }
	std::span<const Match> matches_of(FilterId filter) const noexcept;
};

class TransactionLog {
 public:
	struct Limits {
		size_t memory = 64 << 20;
		size_t spill = 1 << 30;
		std::string directory;  // of temporary files
		// Beyond this history goes, and what is needed goes to a file. Less than `memory` while clients want more of it.
		size_t in_memory = SIZE_MAX;
		size_t soft() const noexcept { return in_memory < memory ? in_memory : memory; }
	};

	explicit TransactionLog(Limits limits) : limits_(std::move(limits)) {}
	void set_limits(Limits limits)
	{
		limits_ = std::move(limits);
		trim_at_ = 0;
	}

	// The stream begins at `place`: what came before is not here.
	void begin(uint64_t place) noexcept { complete_from_ = place; }
	// Every transaction after this place is here.
	uint64_t complete_from() const noexcept { return complete_from_; }
	// Numbers of entries: first() .. end() - 1 are there.
	uint64_t first() const noexcept { return first_; }
	uint64_t end() const noexcept { return first_ + entries_.size(); }
	const LogEntry& at(uint64_t number) const noexcept { return entries_[number - first_]; }
	// The first entry after the stream's place, for places that grow from transaction to transaction; at least first().
	uint64_t first_after(uint64_t place) const noexcept;
	// The first entry after the transaction at this very place; nothing when that has left the log.
	std::optional<uint64_t> after_transaction(uint64_t place) const noexcept;
	LogEntry& append(LogEntry&& entry);
	// The entry has been judged again.
	void set_matches(uint64_t number, std::vector<Match>&& matches, std::vector<FilterId>&& unreadable,
	                 uint64_t judged);

	// Keeps to the limits. `needed`: the lowest entry some client still needs (end() when none does). Returns the first
	// entry that is left; clients that need an older one are to be cut. `error` is set when a temporary file failed.
	uint64_t trim(uint64_t needed, std::string& error);

	// Drops all entries below `entry`, whatever the limits.
	void drop_before(uint64_t entry) noexcept;

	size_t memory() const noexcept { return memory_; }
	size_t spilled() const noexcept { return spilled_; }
	bool over_limits() const noexcept { return memory_ > std::max(trim_at_, limits_.soft()); }

 private:
	std::optional<Body> on_disk(const Body& body, std::string& error) const;
	void drop_first() noexcept;

	Limits limits_;
	std::deque<LogEntry> entries_;
	std::unordered_map<uint64_t, uint64_t> by_place_;  // transactions
	uint64_t complete_from_ = 0;
	uint64_t first_ = 1;
	uint64_t spill_next_ = 1;  // entries below are spilled or small enough to stay
	size_t memory_ = 0, spilled_ = 0;
	size_t trim_at_ = 0;  // when trimming could not reach the limit: what is worth the next look at all clients
};

}  // namespace plank::core
