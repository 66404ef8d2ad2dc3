// What the hub is kept to, what it counts, and whom it hands what is to be notified. Runs in the worker. Must not call
// PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "core/transaction_log.hpp"

namespace plank::core {

struct HubLimits {
	size_t max_subscriptions = 1000;
	int subscribe_rate = 0;  // subscribe and auth requests of a client, a second; 0: no limit
	TransactionLog::Limits log;
	// Memory for what is read again of the past. More than net::Limits::send_buffer, so that a client that reads none of
	// it is cut before everybody else's resume waits for it for good.
	size_t replay = 16 << 20;
	size_t memory = 0;  // of the whole worker; 0: no limit. Conditions may take a quarter.
};

struct HubCounters {
	uint64_t subscriptions = 0;  // live now
	uint64_t transactions = 0, changes = 0, messages = 0, errors = 0;
	uint64_t bytes = 0;  // of transactions
	// By what made them necessary: DDL and its like, changes that could not be delivered, a resume that failed.
	uint64_t resets_ddl = 0, resets_lost = 0, resets_resume = 0;
	uint64_t resumed_from_log = 0, resumed_by_replay = 0;
	uint64_t shed = 0;  // sessions, for memory
};

// Takes what `plank.track(notify => …)` asks to be sent on public channels.
using NoticeSink = std::function<void(const std::string& channel, std::string&& payload)>;

// Requests of one client that may wait before it is no longer read from, and how few let it be read again.
constexpr size_t kRequestsPause = 64;
constexpr size_t kRequestsResume = 16;
constexpr size_t kRequestBytesPause = 256 * 1024;
// The same for what waits for it: bytes of answers, and pieces of any kind.
constexpr size_t kRepliesPause = 256 * 1024;
constexpr size_t kRepliesResume = 64 * 1024;
constexpr size_t kWaitingPause = 128;
constexpr size_t kWaitingResume = 32;
// Subscriptions of sessions that change audience at once; more would make a turn too long.
constexpr size_t kRegroupingWork = 4096;

}  // namespace plank::core
