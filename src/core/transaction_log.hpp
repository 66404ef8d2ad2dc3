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
#include <string>
#include <vector>

#include "core/record.hpp"
#include "core/spill.hpp"

namespace plank::core {

constexpr uint32_t kAllTables = 0;

// Something every subscriber of `relation` (or of all tables) must be told after the entry's changes.
struct Reset {
	uint32_t relation = kAllTables;
	std::string reason;
};

// A table that has changes in an entry, and which.
struct Touched {
	uint32_t relation;
	OpSet ops;
};

struct LogEntry {
	uint64_t number = 0;
	Transaction transaction;                   // without changes for a mere reset or shape
	std::shared_ptr<const SpillFile> spilled;  // set: `transaction.body` is empty and lives there
	std::vector<Touched> tables;               // sorted by relation
	std::vector<std::string> channels;         // that have messages here, sorted
	std::vector<Reset> resets;
	ShapePtr new_shape;         // the table's shape from here on: `subscribed` is said again
	bool plain_notify = false;  // of another application's NOTIFY
	uint64_t position_xid = 0;  // of the last transaction up to here
	size_t memory = 0;

	std::string_view records() const noexcept
	{
		const std::string_view body = spilled ? spilled->bytes() : std::string_view(transaction.body);
		return body.substr(transaction.records_at);
	}
	size_t body_size() const noexcept { return spilled ? spilled->bytes().size() : transaction.body.size(); }
};

class TransactionLog {
 public:
	struct Limits {
		size_t memory = 64 << 20;
		size_t spill = 1 << 30;
		std::string directory;  // of temporary files
	};

	explicit TransactionLog(Limits limits) : limits_(std::move(limits)) {}
	void set_limits(Limits limits)
	{
		limits_ = std::move(limits);
		trim_at_ = 0;
	}

	// Numbers of entries: first() .. end() - 1 are there.
	uint64_t first() const noexcept { return first_; }
	uint64_t end() const noexcept { return first_ + entries_.size(); }
	const LogEntry& at(uint64_t number) const noexcept { return entries_[number - first_]; }
	LogEntry& append(LogEntry&& entry);

	// Keeps to the limits. `needed`: the lowest entry some client still needs (end() when none does). Returns the first
	// entry that is left; clients that need an older one are to be cut. `error` is set when a temporary file failed.
	uint64_t trim(uint64_t needed, std::string& error);

	size_t memory() const noexcept { return memory_; }
	size_t spilled() const noexcept { return spilled_; }
	bool over_limits() const noexcept { return memory_ > std::max(trim_at_, limits_.memory); }

 private:
	void drop_first() noexcept;

	Limits limits_;
	std::deque<LogEntry> entries_;
	uint64_t first_ = 1;
	uint64_t spill_next_ = 1;  // entries below are spilled or small enough to stay
	size_t memory_ = 0, spilled_ = 0;
	size_t trim_at_ = 0;  // when trimming could not reach the limit: what is worth the next look at all clients
};

}  // namespace plank::core
