// What memory the worker really uses, whoever asked for it: PostgreSQL's contexts, the C++ library, OpenSSL and
// libwebsockets all have it from malloc. Runs in the worker.
#pragma once

#include <chrono>
#include <cstddef>

namespace plank::worker {

class MemoryMeter {
 public:
	using Clock = std::chrono::steady_clock;

	~MemoryMeter();
	MemoryMeter() = default;
	MemoryMeter(const MemoryMeter&) = delete;
	MemoryMeter& operator=(const MemoryMeter&) = delete;

	// Bytes used now; costs microseconds while that is far below `limit` (0: none). What was freed and not given back to
	// the system is used no more, but malloc takes up to a microsecond for each hole to tell how much that is: near the
	// limit it is asked so seldom that this takes a fiftieth of the time, and between two answers only growth is seen.
	size_t measure(size_t limit) noexcept;
	// Whether the last measurement knows what was freed by then.
	bool is_exact() const noexcept { return exact_; }
	// Gives freed memory back to the system; as seldom, and false when the last time was not long ago.
	bool give_back() noexcept;
	// Near the limit, much is freed and not given back.
	bool holds_much(size_t limit) const noexcept
	{
		return limit > 0 && resident_ >= limit / 5 * 4 && resident_ > last_ && resident_ - last_ > limit / 16;
	}

 private:
	size_t resident() noexcept;
	size_t allocated() noexcept;

	int status_ = -1;  // of this process, kept open
	size_t last_ = 0, resident_ = 0;
	size_t allocated_ = 0, resident_then_ = 0;
	bool exact_ = true;
	Clock::time_point next_allocated_{}, next_trim_{};
};

}  // namespace plank::worker
