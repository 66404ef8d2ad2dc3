// The receiving end of a transport: how committed transactions come to the hub. One for the whole server, chosen by
// plank.transport. Runs in the worker, outside network callbacks.
#pragma once

// net/ and core/ come before anything of PostgreSQL's.
#include "core/hub.hpp"
#include "core/past.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pg/shared_state.hpp"

namespace plank::worker {

// What plank.stat shows of a transport; zero where it has no such thing.
struct ReceiverCounters {
	uint64_t wal_read = 0, wal_skipped = 0, wal_replayed = 0, forged = 0;
	uint64_t lag_bytes = 0;
	int64_t lag_time = 0;          // microseconds
	uint64_t oldest_position = 0;  // LSN
};

class Receiver {
 public:
	using Clock = std::chrono::steady_clock;

	virtual ~Receiver() = default;
	// What the hub asks about the past. The hub is made after it, and attached before anything else is called.
	virtual core::Past& past() noexcept = 0;
	virtual void attach(core::Hub& hub) noexcept = 0;
	// After settings were read.
	virtual void set_limits(const core::TransactionLog::Limits& limits) = 0;

	// Listens on what it needs and on `channels` (in the database's encoding), and no longer on others. In a unit of work;
	// takes effect when it commits.
	virtual void listen(const std::vector<std::string>& channels) = 0;
	virtual void unlisten() = 0;
	// Listening has begun, for the first time or again.
	virtual void begin() = 0;
	// The hub's stream has begun, so clients can be served.
	virtual bool ready() const noexcept = 0;

	// Hands over what has arrived, at most until `deadline`, and tells the hub when something was lost.
	virtual void receive(Clock::time_point deadline) = 0;
	// Hub::fence_passed(number) when everything that had committed by now has been delivered. `wal_end`: where that ends in
	// the WAL. Outside a unit of work.
	virtual void fence(uint64_t number, uint64_t wal_end) = 0;
	// How long, in ms, receive() need not be called when nobody wakes the worker; 0: there is more.
	virtual long patience() const = 0;
	// What is delivered now was committed before this worker began: nobody is to be notified of it again.
	virtual bool is_past() const noexcept = 0;
	// May look at the disk: not for every turn.
	virtual ReceiverCounters counters() = 0;
};

std::unique_ptr<Receiver> make_notify_receiver(pg::DatabaseSlot& database);
std::unique_ptr<Receiver> make_wal_receiver();

// Another application's NOTIFY on an exposed channel, for all transports.
void deliver_plain_notify(core::Hub& hub, const char* channel, std::string_view payload);

}  // namespace plank::worker
