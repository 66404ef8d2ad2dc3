// A token bucket: so many of something a second, and a burst of some seconds' worth. Pure. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <algorithm>
#include <cstdint>

namespace plank::core {

class Allowance {
 public:
	static constexpr int64_t kBurstSeconds = 10;

	// Takes one at `now` (milliseconds, of any clock that never goes back) when one is left. `rate`: a second; 0: no limit.
	[[nodiscard]] bool take(int64_t now, int rate) noexcept
	{
		if (rate <= 0) return true;
		// Counted in thousandths, so that each millisecond of a rate of one counts.
		const int64_t full = int64_t{rate} * 1000 * kBurstSeconds;
		if (refilled_at_ < 0)
			left_ = full;
		else
			left_ = std::min(full, left_ + std::min<int64_t>(now - refilled_at_, kBurstSeconds * 1000) * rate);
		refilled_at_ = now;
		if (left_ < 1000) return false;
		left_ -= 1000;
		return true;
	}
	// Whether nothing is remembered that matters: it is full again, or has never been used.
	[[nodiscard]] bool rested(int64_t now) const noexcept
	{
		return refilled_at_ < 0 || now - refilled_at_ >= kBurstSeconds * 1000;
	}

 private:
	int64_t left_ = 0;
	int64_t refilled_at_ = -1;
};

}  // namespace plank::core
