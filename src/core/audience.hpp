// An audience: all sessions of one identity that watch exactly the same things under the same ids. What the log holds for it
// is rendered once, as frames that all its sessions share.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/frame.hpp"
#include "core/record.hpp"
#include "core/transaction_log.hpp"

namespace plank::core {

class Session;

// One thing that a session watches.
struct Subscription {
	std::string id;
	uint32_t relation = 0;  // 0: a channel
	std::string channel;
	OpSet events = kAllOps;
	bool numbers_as_text = false;
	int64_t since = 0;  // microseconds since 2000-01-01 UTC
};

// A place in the log: an entry, and how far into its records.
struct Cursor {
	uint64_t entry = 0;
	size_t offset = 0;
	bool operator==(const Cursor&) const = default;
};

// Some messages for an audience, ready to be sent, and the places in the log between which they stand.
struct Batch {
	Cursor from, to;
	FramePtr frame;                     // null: nothing between the two concerns the audience, or see below
	uint64_t entries_bytes = 0;         // bytes of log behind it, as Audience::bytes counts them
	std::weak_ptr<const Frame> let_go;  // no longer kept, but there while a session is being sent it
	uint64_t serial = 0;                // tells kept batches apart
};

class Audience {
 public:
	// `catchup`: it is one subscription that hears of what others have had; its messages say so.
	Audience(std::string key, const std::vector<Subscription>& subscriptions, bool catchup = false);

	const std::string& key() const noexcept { return key_; }
	bool catches_up() const noexcept { return !catchup_.empty(); }
	const std::string& catchup_id() const noexcept { return catchup_id_; }
	bool watches(const LogEntry& entry) const noexcept;
	const std::vector<uint32_t>& relations() const noexcept { return relations_; }
	const std::vector<std::string>& channels() const noexcept { return channels_; }

	// Renders from `from` up to entry `until` (exclusive, beyond `from`), about kBatchSize bytes at the most.
	Batch render(const TransactionLog& log, Cursor from, uint64_t until) const;
	// The first place from `at` on, up to entry `until`, where something concerns the audience.
	Cursor skip(const TransactionLog& log, Cursor at, uint64_t until) const noexcept;

	// What a stretch of the log holds for a catchup audience: where it begins, how many bytes of log it is, and the shape
	// of its table at the beginning (null when nothing there tells).
	struct Measure {
		uint64_t from = 0, until = 0;
		Cursor first;
		uint64_t bytes = 0;
		ShapePtr shape;
	};
	// Cheap when it was asked last, as by the many that come back together.
	const Measure& measure(const TransactionLog& log, uint64_t from, uint64_t until);

	// Sessions that have all there was; hub.cpp keeps it.
	std::vector<Session*> idle;
	// Bytes of all entries that it watches, ever; the difference between two times is what waits for a session.
	uint64_t bytes = 0;
	uint64_t last_woken = 0;  // number of the newest entry it was woken for
	size_t members = 0;       // sessions whose audience it is
	// Recent batches, newest last.
	std::vector<Batch> batches;

 private:
	// The ids that get one operation of a table in one form, ready as the beginning of a change's JSON.
	struct Heads {
		std::array<std::string, kOps> as_json, as_text;
	};
	struct WatchedTable {
		uint32_t relation;
		OpSet events;  // of all its subscriptions
		Heads heads;
		std::vector<std::string> ids;
	};
	struct WatchedChannel {
		std::string channel;
		std::string head;
	};
	class Writer;

	const WatchedTable* table(uint32_t relation) const noexcept;
	const WatchedChannel* channel(std::string_view name) const noexcept;
	bool hears(const LogEntry& entry) const noexcept;
	bool render_changes(Writer& writer, const LogEntry& entry, Cursor& at) const;
	void render_resets(Writer& writer, const LogEntry& entry) const;

	std::string key_;
	std::string catchup_;  // the member that follows a transaction's time, or nothing
	std::string catchup_id_;
	Measure measured_;
	std::vector<uint32_t> relations_;
	std::vector<std::string> channels_;
	std::vector<WatchedTable> tables_;              // by relation
	std::vector<WatchedChannel> watched_channels_;  // by name
};

constexpr size_t kBatchSize = 256 * 1024;

// What makes two sessions one audience. `identity`: Identity::key.
std::string audience_key(const std::string& identity, const std::vector<Subscription>& subscriptions);

}  // namespace plank::core
