// The one clock of all times that the load programs tell: CLOCK_MONOTONIC, which every process of a machine shares.
#pragma once
#include <cstdint>
#include <ctime>

namespace plank::bench {

inline int64_t now_ns()
{
	timespec now{};
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

inline void sleep_until(int64_t when_ns)
{
	const timespec when{when_ns / 1'000'000'000, when_ns % 1'000'000'000};
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr);
}

}  // namespace plank::bench
