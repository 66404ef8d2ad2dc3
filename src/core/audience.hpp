// An audience: all sessions of one role that watch exactly the same things under the same ids. What the log holds for it is rendered
// once, as frames that all its sessions share.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <array>
#include <cstdint>
#include <deque>
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
	FramePtr frame;              // null: nothing between the two concerns the audience
	uint64_t entries_bytes = 0;  // bytes of log behind it, as Audience::bytes counts them
};

class Audience {
 public:
	Audience(std::string key, std::string role, const std::vector<Subscription>& subscriptions);

	const std::string& key() const noexcept { return key_; }
	const std::string& role() const noexcept { return role_; }
	bool watches(const LogEntry& entry) const noexcept;
	const std::vector<uint32_t>& relations() const noexcept { return relations_; }
	const std::vector<std::string>& channels() const noexcept { return channels_; }

	// Renders from `from` up to entry `until` (exclusive), about kBatchSize bytes at the most.
	Batch render(const TransactionLog& log, Cursor from, uint64_t until, const std::string& epoch) const;

	// Sessions that have all there was; hub.cpp keeps it.
	std::vector<Session*> idle;
	// Bytes of all entries that it watches, ever; the difference between two times is what waits for a session.
	uint64_t bytes = 0;
	uint64_t last_woken = 0;  // number of the newest entry it was woken for
	size_t members = 0;       // sessions whose audience it is
	// Recent batches, newest last.
	std::deque<Batch> batches;

 private:
	// The ids that get one operation of a table in one form, ready as the beginning of a change's JSON.
	struct Heads {
		std::array<std::string, kOps> as_json, as_text;
	};
	struct WatchedTable {
		uint32_t relation;
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
	bool render_changes(Writer& writer, const LogEntry& entry, Cursor& at) const;
	void render_resets(Writer& writer, const LogEntry& entry, const std::string& position) const;

	std::string key_, role_;
	std::vector<uint32_t> relations_;
	std::vector<std::string> channels_;
	std::vector<WatchedTable> tables_;
	std::vector<WatchedChannel> watched_channels_;
};

constexpr size_t kBatchSize = 256 * 1024;

// What makes two sessions one audience.
std::string audience_key(const std::string& role, const std::vector<Subscription>& subscriptions);

// The opaque position of everything up to a transaction id, for one server start.
std::string position_text(const std::string& epoch, uint64_t xid);

}  // namespace plank::core
