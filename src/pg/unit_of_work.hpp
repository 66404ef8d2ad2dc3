// One unit of the worker's work in the database: a transaction that ends on every path. Runs in the worker, outside
// network callbacks. Between units nothing is open: no transaction, no snapshot, no lock.
#pragma once

#include "pg/guard.hpp"
#include "pg/postgres.hpp"

namespace plank::pg {

// Starts a transaction; what it allocates goes with it. `activity` is shown in pg_stat_activity. Throws Error.
void begin_unit(const char* activity);
// Commits it. Throws Error, and then the unit is still to be aborted.
void commit_unit();
// Rolls back whatever is open; also right after an error outside a transaction.
void abort_unit() noexcept;
// True between begin_unit and its end.
bool in_unit() noexcept;

// Runs `f` as one unit. An error rolls it back and comes out as Error.
template <typename F>
void unit_of_work(const char* activity, F&& f)
{
	try {
		begin_unit(activity);
		f();
		commit_unit();
	} catch (...) {
		abort_unit();
		throw;
	}
}

// Writes to the server's log. `level` is PostgreSQL's (LOG, WARNING, ...), below ERROR.
void log_line(int level, const char* message, const char* detail = nullptr, const char* hint = nullptr) noexcept;

// Where the worker's own short-lived allocations go; reset once a turn.
MemoryContext turn_memory() noexcept;

// Lets PostgreSQL act on what other processes asked (barriers, cancel, memory reports). A cancel between statements is
// nobody's business and is dropped. Throws Error for the rest.
void check_interrupts();
// Whether replay on a standby wanted what was held: that is free now, and the same may be tried again.
bool is_recovery_conflict(const Error& error) noexcept;

}  // namespace plank::pg
