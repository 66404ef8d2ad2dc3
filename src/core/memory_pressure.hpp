// How near a worker is to plank.max_memory, and what follows: nothing, or less history from 80 % on; refusing newcomers;
// closing clients. Runs in the worker. Must not call PostgreSQL.
//
//   ample ──above 90 %──▶ low ──above 100 %──▶ over
//     ◀──below 85 %────────◀──below 85 %────────┘
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstddef>
#include <cstdint>

namespace plank::core {

class MemoryPressure {
 public:
	enum class State : uint8_t { ample, low, over };

	// Bytes; 0: no limit.
	void set_limit(size_t limit) noexcept { limit_ = limit; }
	size_t limit() const noexcept { return limit_; }
	// What is used now. Returns the new state.
	State look(size_t used) noexcept
	{
		if (limit_ == 0 || used < relief())
			state_ = State::ample;
		else if (used > limit_)
			state_ = State::over;
		else if (state_ == State::ample && used > limit_ - limit_ / 10)
			state_ = State::low;
		return state_;
	}
	State state() const noexcept { return state_; }
	// What may still be taken for what only makes things faster; below 0: as much of that has to go.
	int64_t spare(size_t used) const noexcept
	{
		return limit_ == 0 ? INT64_MAX : static_cast<int64_t>(limit_ / 5 * 4) - static_cast<int64_t>(used);
	}
	// Bytes that have to be given back before clients are safe again; 0 but when over.
	size_t excess(size_t used) const noexcept { return state_ == State::over && used > relief() ? used - relief() : 0; }

 private:
	size_t relief() const noexcept { return limit_ - limit_ / 20 * 3; }

	size_t limit_ = 0;
	State state_ = State::ample;
};

}  // namespace plank::core
