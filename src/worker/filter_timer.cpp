// The timer behind filters' limits. The handler runs in a signal: it reads and writes plain variables, nothing else.
#include "worker/filter_timer.hpp"

#include "pg/expression.hpp"

namespace plank::worker::filter_timer {

namespace {

constexpr int kTick = 5;       // milliseconds
constexpr int kPatience = 20;  // times its time is what a policy may go on for

TimeoutId timer;
bool registered = false;

struct State {
	volatile sig_atomic_t evaluation = 0;  // counts them, so that a tick knows whether it is still the same one
	volatile sig_atomic_t turn = 0;
	FilterCharge* volatile charge = nullptr;
	volatile sig_atomic_t stop = 0;
	// The handler's own.
	sig_atomic_t seen = 0;
	int ticks = 0, most = 0;
	int ignored = 0;  // ticks since it was cancelled
	// Fixed while the timer ticks.
	int most_ticks = 0, most_turn_ticks = 0;
	Size memory = 0;
	MemoryContext scratch = nullptr;
} state;

// What the process ends for; empty as long as it does not.
char ending[256] = {};

void cancel()
{
	InterruptPending = true;
	QueryCancelPending = true;
}

// It was cancelled and goes on. A condition cannot catch that: it is in a function that does not look, and will return.
void insist(const FilterCharge& charge)
{
	++state.ignored;
	if (state.ignored % state.most == 0) cancel();
	if (!charge.table || state.ignored < state.most * kPatience || ending[0]) return;
	strlcpy(ending, charge.table, sizeof ending);
	InterruptPending = true;
	ProcDiePending = true;
}

void say_why(int, Datum)
{
	if (!ending[0]) return;
	ereport(LOG, (errmsg("plank: row security of %s does not end when it is cancelled, so the process does", ending),
	              errhint("Let the functions of its policies not catch query_canceled.")));
}

void tick()
{
	FilterCharge* const charge = state.charge;
	if (!charge) return;
	if (state.stop != 0) return insist(*charge);
	if (charge->turn != state.turn) {
		charge->turn = state.turn;
		charge->ticks = 0;
	}
	charge->ticks = charge->ticks + 1;
	if (state.seen != state.evaluation) {
		state.seen = state.evaluation;
		state.ticks = 0;
	}
	Stop stop = Stop::none;
	const int own_limit = charge->own_limit / kTick;
	state.most = own_limit > 0 ? Max(own_limit, 2) : state.most_ticks;
	if (++state.ticks >= state.most)
		stop = Stop::time;
	else if (charge->ticks >= Max(state.most_turn_ticks, own_limit))
		stop = Stop::budget;
	else if (state.scratch->mem_allocated > state.memory || CurrentMemoryContext->mem_allocated > state.memory)
		stop = Stop::memory;
	if (stop == Stop::none) return;
	state.stop = static_cast<int>(stop);
	state.ignored = 0;
	cancel();
}

object_access_hook_type next_access = nullptr;

// Called before each function of an expression that is being folded. Nobody else looks up between them, and one like the
// product of long numbers takes its time.
void access_object(ObjectAccessType access, Oid class_id, Oid object, int sub_id, void* argument)
{
	if (next_access) next_access(access, class_id, object, sub_id, argument);
	if (access == OAT_FUNCTION_EXECUTE) CHECK_FOR_INTERRUPTS();
}

}  // namespace

void start(const FilterLimits& limits, MemoryContext scratch)
{
	if (!registered) {
		timer = RegisterTimeout(USER_TIMEOUT, tick);
		before_shmem_exit(say_why, 0);
		next_access = object_access_hook;
		object_access_hook = access_object;
	}
	registered = true;
	state.charge = nullptr;
	state.stop = 0;
	state.most_ticks = Max(limits.evaluation_ms / kTick, 2);
	state.most_turn_ticks = Max(limits.turn_ms / kTick, 2);
	state.memory = limits.memory;
	state.scratch = scratch;
	enable_timeout_every(timer, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kTick), kTick);
}

void stop() noexcept
{
	state.charge = nullptr;
	if (registered) disable_timeout(timer, false);
	(void)take_stop();
}

void run(FilterCharge* charge) noexcept
{
	state.evaluation = (state.evaluation + 1) & 0x3fffffff;
	state.charge = charge;
}

void run_for_all(const char* policies_of) noexcept
{
	static FilterCharge charge;
	charge.ticks = 0;
	charge.table = policies_of;
	run(&charge);
}

void begin_turn() noexcept { state.turn = (state.turn + 1) & 0x3fffffff; }

bool has_overrun() noexcept
{
	const auto stop = static_cast<Stop>(state.stop);
	if (stop != Stop::memory) return stop != Stop::none;
	// It came to its end all the same, and its memory is given back.
	state.stop = 0;
	QueryCancelPending = false;
	return false;
}

Stop take_stop() noexcept
{
	state.charge = nullptr;
	const auto stop = static_cast<Stop>(state.stop);
	state.stop = 0;
	// It may have come when the work was just done: then nobody has taken the cancel.
	if (stop != Stop::none) QueryCancelPending = false;
	return stop;
}

}  // namespace plank::worker::filter_timer
