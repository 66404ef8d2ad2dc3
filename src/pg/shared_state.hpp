// What Plank keeps in PostgreSQL's shared memory: one slot per served database, one per worker process.
// Runs in every process. Plain data and atomics only: no C++ object with a destructor may live here, and no pointer or
// latch of another process.
#pragma once

#include <atomic>
#include <cstdint>

#include "pg/postgres.hpp"

extern "C" {
#include "storage/s_lock.h"
#include "storage/spin.h"
}

namespace plank::pg {

constexpr int kMaxDatabases = 64;
constexpr int kMaxWorkersPerDatabase = 64;
constexpr int kChannelLength = 6 + 32;  // "plank:" and 128 random bits in hex

enum class WorkerState : int {
	down,
	starting,
	waiting_for_extension,
	wrong_version,
	ready,
	stopping,
};

// Counters of `plank.stat`; each is written by its worker alone.
struct WorkerCounters {
	std::atomic<uint64_t> clients, subscriptions, transactions, changes, messages, resets, clients_accepted,
	    clients_refused, clients_too_slow, clients_timed_out, frames_sent, bytes_sent, bytes_received, log_bytes,
	    spill_bytes, notify_sent, notify_skipped, errors, transaction_bytes, resets_ddl, resets_lost, resets_resume,
	    resumed_from_log, resumed_by_replay, wal_read, wal_skipped, wal_replayed, messages_forged, lag_bytes, lag_time,
	    oldest_position, memory_bytes, clients_shed;
};

struct WorkerSlot {
	int database;            // index into databases
	int number;              // 0 .. plank.workers - 1
	std::atomic<int> state;  // WorkerState
	std::atomic<int> pid;
	std::atomic<int> procno;  // pgprocno for waking it, -1 when down
	std::atomic<int> port;
	std::atomic<int64_t> started_at;                  // TimestampTz
	std::atomic<bool> listening;                      // its LISTEN has committed
	std::atomic<uint32_t> failures;                   // starts in a row that could not connect; for the back-off
	std::atomic<uint64_t> report_asked, report_done;  // plank.clients and plank.subscriptions
	WorkerCounters counters;
};

struct DatabaseSlot {
	char name[NAMEDATALEN];
	int port;                               // 0: plank.port (first) plus its place
	std::atomic<Oid> oid;                   // known once its worker has connected
	std::atomic<uint32_t> catalog_changes;  // raised after a commit that changed what the worker has cached
	std::atomic<uint64_t> lost;             // raised after a commit whose changes could not go through the queue
	std::atomic<bool> unflushed;       // workers were woken for commits that may not be flushed; see wake_for_unflushed
	std::atomic<bool> gap_noted;       // a commit has told WAL that this run's changes are not in it
	char channel[kChannelLength + 1];  // secret, made at every server start
};

// Where a session's transaction began to speak in WAL; each has a cache line of its own, for all write at every commit.
struct alignas(64) FirstMessage {
	std::atomic<uint64_t> lsn;  // 0: it has said nothing
};

// The same for a prepared transaction, whose session goes on to others. Taken by setting `xid`, after `lsn`.
struct PreparedMessage {
	std::atomic<uint64_t> xid;  // top-level, full; 0: free
	std::atomic<uint64_t> lsn;
};

struct SharedState {
	int databases, workers;
	uint64_t epoch;                // of positions: random, made at every server start
	int64_t made_at;               // TimestampTz; a crash of some process makes it all anew
	std::atomic<int> queue_usage;  // of the notification queue, in thousandths, as the workers last saw it
	DatabaseSlot database[kMaxDatabases];
	WorkerSlot worker[1];  // `workers` of them
};

// Null when Plank was not preloaded.
SharedState* shared_state() noexcept;

// The slot of the current session's database, or null when it has no worker, or when none has connected yet and nobody has
// looked for it by name. Cheap after the first call.
DatabaseSlot* my_database_slot() noexcept;
// The same by name, whether or not a worker has ever been up. In a transaction; may ereport.
DatabaseSlot* find_my_database_slot();

// This session's transaction begins to speak in WAL at `lsn` or after it. Before the first message is written, so that a
// reader who looks at the end of WAL first and then at what is published finds the message behind one or the other.
void publish_first_message(uint64_t lsn) noexcept;
// The transaction has ended, its last record written.
void clear_first_message() noexcept;
// It is about to be prepared under this xid: what was published stays until the xid is no longer in progress. May ereport.
void keep_first_message(uint64_t xid);
// Where the oldest transaction of this server that is still open, prepared ones included, began to speak; 0 when none has.
// May ereport.
uint64_t oldest_first_message();

// True when a worker of this database listens.
bool anybody_listens(const DatabaseSlot* slot) noexcept;

// Wakes the workers of a database. Async-signal-safe in spirit: no allocation, no error.
void wake_workers(const DatabaseSlot* slot) noexcept;

// The same for a commit that did not wait for its flush (synchronous_commit = off): nothing can be read yet, so the workers
// are woken only when they have cleared `unflushed` since the last one. They clear it, then look how far WAL is flushed,
// and look again soon as long as it is not flushed to its end.
void wake_for_unflushed(DatabaseSlot* slot) noexcept;

// Splits plank.databases, reserves shared memory and installs the start-up hook. From _PG_init of the postmaster.
// Complains with FATAL about a value that cannot be understood.
void request_shared_state();
// What plank.databases says, for registering the workers: before shared memory exists.
int wanted_databases() noexcept;
const char* wanted_database(int index) noexcept;

// The port that a database's workers listen on: its own, else plank.port plus its place among those without one.
int port_of(int database) noexcept;

// The worker that reported last can be asked for plank.clients and plank.subscriptions; it writes this file.
void report_path(char* path, int slot, bool unfinished) noexcept;

}  // namespace plank::pg
