// The timer behind plank.snapshot_timeout. Runs in the process that reads.
#include "snapshot/patience.hpp"

#include "pg/guard.hpp"
#include "pg/reader_link.hpp"

namespace plank::snapshot {

namespace {

constexpr int kTicks = 10;
// A function may catch a cancel; it cannot do so for ever.
constexpr int kMostTicks = 2 * kTicks;

TimeoutId timer;
bool registered = false;

}  // namespace

Patience::Patience(int ms) : limited_(ms > 0)
{
	waits_ = 0;
	run_out_ = 0;
	seen_ = rows_;
	ticks_ = 0;
	if (!limited_) return;
	const int period = Max(ms / kTicks, 1);
	pg::call([&] {
		if (!registered) timer = RegisterTimeout(USER_TIMEOUT, tick);
		registered = true;
		enable_timeout_every(timer, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), period), period);
	});
}

Patience::~Patience()
{
	if (limited_) disable_timeout(timer, false);
}

void Patience::tick()
{
	if (waits_ || seen_ != rows_) {
		seen_ = rows_;
		ticks_ = 0;
		return;
	}
	if (++ticks_ < kTicks) return;
	run_out_ = 1;
	if (ticks_ >= kMostTicks) return pg::ReaderEnd::end_stuck();
	InterruptPending = true;
	QueryCancelPending = true;
}

}  // namespace plank::snapshot
