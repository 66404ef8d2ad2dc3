// libuv inside PostgreSQL's wait: one thread sleeps on the latch, the postmaster's death and libuv's descriptor together.
// Runs in the worker.
#pragma once

#include <uv.h>

#include "pg/process.hpp"

namespace plank::worker {

class EventLoop {
 public:
	EventLoop();
	~EventLoop();
	EventLoop(const EventLoop&) = delete;
	EventLoop& operator=(const EventLoop&) = delete;

	uv_loop_t* uv() noexcept { return &loop_; }
	// Lets libuv do what is due, without waiting.
	void turn() noexcept;
	// Sleeps until something happens or `limit_ms` is over (0: not at all). Throws pg::Error.
	void wait(long limit_ms);

 private:
	bool changes_pending() const noexcept;

	uv_loop_t loop_;
	WaitEventSet* set_ = nullptr;
};

}  // namespace plank::worker
