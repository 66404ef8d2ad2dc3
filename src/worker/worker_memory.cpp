// How a worker keeps to plank.max_memory. Runs in the worker, outside network callbacks.
//
// On the way to the limit it lets go what only makes things faster and keeps transactions that are on their way on disk;
// near it, it refuses new clients and subscriptions; above it, it closes clients, the largest first. What writers have
// committed is read as ever: they never wait for any of this.
#include "worker/worker.hpp"

#include <utility>

#include "pg/process.hpp"
#include "pg/settings.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

// While there is something to do; an idle worker looks with its tick.
constexpr auto kLook = std::chrono::milliseconds(20);
constexpr auto kGiveBack = std::chrono::seconds(3);

using State = core::MemoryPressure::State;

std::string megabytes(size_t bytes) { return std::to_string(bytes >> 20) + " MB"; }

}  // namespace

void Worker::apply_memory_limits()
{
	const core::HubLimits limits = hub_limits();
	pressure_.set_limit(limits.memory);
	hub_.set_limits(limits);
	apply_log_limits();
	const bool cut = limits.log.memory < static_cast<size_t>(pg::Settings::history_size) * 1024;
	if (cut && !history_is_cut_)
		pg::log_line(LOG, ("plank.history_size is cut to " + megabytes(limits.log.memory)).c_str(),
		             "A quarter of plank.max_memory is the most.",
		             "Raise plank.max_memory or lower plank.history_size.");
	history_is_cut_ = cut;
}

// The log's are those of what is put together and read again, too.
void Worker::apply_log_limits()
{
	core::TransactionLog::Limits log = hub_.log_limits();
	log.memory = log.soft();
	receiver_->set_limits(log);
}

void Worker::look_at_memory()
{
	const auto now = Clock::now();
	if (now < next_look_at_memory_ && !hub_.has_rendered_much()) return;
	next_look_at_memory_ = now + kLook;
	const size_t limit = pressure_.limit();
	const size_t used = meter_.measure(limit);
	slot_.counters.memory_bytes.store(used, std::memory_order_relaxed);
	const State before = pressure_.state();
	const State state = pressure_.look(used);
	if (hub_.set_spare_memory(pressure_.spare(used))) apply_log_limits();
	web_.memory_is_low = state != State::ample;
	hub_.set_memory_is_low(web_.memory_is_low);
	// Who has been told to go takes his memory with him, soon.
	const size_t leaving = state == State::over && server_ ? server_->leaving_memory() : 0;
	const size_t excess = pressure_.excess(used);
	if (excess > leaving && meter_.is_exact()) hub_.shed(excess - leaving);
	hub_.hold(leaving > 0 && used > limit);
	tell_of_memory(before, used);
	// When those who had it have gone.
	if (state == State::ample && before != State::ample) give_back_at_ = now + kGiveBack;
	if (now < give_back_at_ && !meter_.holds_much(limit)) return;
	if (meter_.give_back()) give_back_at_ = Clock::time_point::max();
}

// Once for each change of state, with what has happened meanwhile.
void Worker::tell_of_memory(State before, size_t used)
{
	const State state = pressure_.state();
	if (state == before) return;
	const std::string detail =
	    "It uses " + megabytes(used) + " of the " + megabytes(pressure_.limit()) + " that plank.max_memory allows.";
	constexpr const char* kHint =
	    "Raise plank.max_memory, or lower plank.max_connections, plank.max_subscriptions or plank.history_size.";
	switch (state) {
		case State::ample: {
			const uint64_t shed = hub_.counters().shed - std::exchange(shed_before_, hub_.counters().shed);
			const std::string line = "the worker has memory again: new clients and subscriptions are let in" +
			                         (shed ? "; " + std::to_string(shed) + " clients were closed" : std::string());
			return pg::log_line(LOG, line.c_str());
		}
		case State::low:
			return pg::log_line(WARNING, "the worker is short of memory: new clients and subscriptions are refused",
			                    detail.c_str(), kHint);
		case State::over:
			return pg::log_line(WARNING, "the worker uses too much memory: the clients that take most are closed",
			                    detail.c_str(), kHint);
	}
}

}  // namespace plank::worker
