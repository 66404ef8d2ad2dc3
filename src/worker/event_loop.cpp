// libuv inside PostgreSQL's wait. Runs in the worker.
#include "worker/event_loop.hpp"

#include <algorithm>
#include <new>
#include <type_traits>

#include "pg/compat.hpp"
#include "pg/guard.hpp"
#include "pg/process.hpp"

namespace plank::worker {

namespace {

// libuv's list of watchers is two pointers, with names in newer versions; an empty one points to itself.
template <typename Queue>
bool any_in(const Queue& queue) noexcept
{
	if constexpr (std::is_array_v<Queue>)
		return queue[0] != static_cast<const void*>(&queue);
	else
		return queue.next != &queue;
}

}  // namespace

EventLoop::EventLoop()
{
	if (uv_loop_init(&loop_) != 0) throw std::bad_alloc();
	set_ = pg::call([&] {
		WaitEventSet* set = CreateWaitEventSet(static_cast<ResourceOwner>(nullptr), 3);
		AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
		AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
		AddWaitEventToSet(set, WL_SOCKET_READABLE, uv_backend_fd(&loop_), nullptr, nullptr);
		return set;
	});
}

EventLoop::~EventLoop()
{
	FreeWaitEventSet(set_);
	while (uv_run(&loop_, UV_RUN_NOWAIT)) {}
	uv_loop_close(&loop_);
}

// Watchers that callbacks changed reach epoll at the beginning of the next uv_run; sleeping before that would miss them.
bool EventLoop::changes_pending() const noexcept { return any_in(loop_.watcher_queue); }

void EventLoop::turn() noexcept
{
	constexpr int kMostRounds = 4;
	int rounds = 0;
	do
		uv_run(&loop_, UV_RUN_NOWAIT);
	while (changes_pending() && ++rounds < kMostRounds);
}

void EventLoop::wait(long limit_ms)
{
	const int due = uv_backend_timeout(&loop_);
	long timeout = due < 0 ? limit_ms : std::min<long>(due, limit_ms);
	if (changes_pending()) timeout = 0;
	pg::call([&] {
		WaitEvent events[3];
		const int count = WaitEventSetWait(set_, timeout, events, 3, PG_WAIT_EXTENSION);
		for (int i = 0; i < count; ++i)
			if (events[i].events & WL_LATCH_SET) ResetLatch(MyLatch);
	});
}

}  // namespace plank::worker
