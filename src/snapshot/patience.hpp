// Ends a query that brings no row for too long: a policy may sleep, or wait for what never comes, and as many of them as
// there may be readers would hold up everybody's snapshots. Runs in the process that reads.
#pragma once

#include <csignal>

#include "pg/execution.hpp"

namespace plank::snapshot {

class Patience {
 public:
	// From now on the query may take `ms` for each of its rows; 0: as long as it wants. One at a time. Throws pg::Error.
	explicit Patience(int ms);
	~Patience();
	Patience(const Patience&) = delete;
	Patience& operator=(const Patience&) = delete;

	// Whether the cancel that has come was this one's.
	static bool has_run_out() noexcept { return run_out_ != 0; }
	static void note_row() noexcept { rows_ = (rows_ + 1) & 0x3fffffff; }
	// What follows waits for the client, for as long as it likes, until the next row.
	static void note_wait(bool waits) noexcept { waits_ = waits; }

 private:
	// In a signal: it reads and writes plain variables, nothing else.
	static void tick();

	static inline volatile sig_atomic_t rows_ = 0, waits_ = 0, run_out_ = 0;
	static inline sig_atomic_t seen_ = 0;
	static inline int ticks_ = 0;
	const bool limited_;
};

}  // namespace plank::snapshot
