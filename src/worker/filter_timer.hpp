// Bounds what filters cost: the time of one evaluation, the time of a filter in a turn, and memory. A timer ticks while
// filters run; its handler charges the tick to the filter that is running and cancels it when it has had enough. So a
// filter costs no look at the clock. Runs in the worker.
//
// A policy's functions can catch a cancel and go on. They are cancelled again and again, and at last the process ends as
// pg_terminate_backend would have it.
#pragma once

#include <csignal>
#include <cstdint>

#include "pg/postgres.hpp"

namespace plank::worker {

// What a filter has used of its budget.
struct FilterCharge {
	volatile sig_atomic_t turn = 0;
	volatile sig_atomic_t ticks = 0;
	// Milliseconds that one evaluation may take, when it is not FilterLimits::evaluation_ms; a turn may then have as much.
	int own_limit = 0;
	const char* table = nullptr;  // whose policy it is; null: a condition
};

struct FilterLimits {
	int evaluation_ms = 100;               // one evaluation, or the check of a new filter
	int turn_ms = 250;                     // all evaluations of one filter between two begin_turn
	Size memory = Size{64} * 1024 * 1024;  // scratch memory of one evaluation
	Size constants = Size{1024} * 1024;    // of one filter
};

namespace filter_timer {

enum class Stop : int { none, time, budget, memory };

// `scratch`: where the work that follows allocates most; whatever context is current when a tick comes is looked at too.
// May ereport.
void start(const FilterLimits& limits, MemoryContext scratch);
void stop() noexcept;
// From now on this filter runs; null: none does.
void run(FilterCharge* charge) noexcept;
// From now on work runs that is bounded in time and memory and belongs to no filter. `policies_of`: the table whose
// policies' functions it may call; it must stay until something else runs.
void run_for_all(const char* policies_of = nullptr) noexcept;
void begin_turn() noexcept;
// Whether what has just come to its end has used up its time: functions that never look for interrupts do.
bool has_overrun() noexcept;
// Why the handler cancelled what ran, and forgets it. From now on nothing runs.
Stop take_stop() noexcept;

}  // namespace filter_timer

}  // namespace plank::worker
