// Asking the system and malloc. Runs in the worker. Must not call PostgreSQL.
#include "worker/memory_meter.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace plank::worker {

namespace {

constexpr auto kLeastPause = std::chrono::milliseconds(1);
constexpr auto kTrimPause = std::chrono::seconds(5);
constexpr int kShare = 50;  // of the time

// "Name:   123 kB" of /proc/self/status, in bytes.
size_t field(std::string_view status, std::string_view name) noexcept
{
	size_t at = status.find(name);
	if (at == std::string_view::npos) return 0;
	at = status.find_first_not_of(" \t", at + name.size());
	size_t kilobytes = 0;
	if (at != std::string_view::npos) std::from_chars(status.data() + at, status.data() + status.size(), kilobytes);
	return kilobytes * 1024;
}

}  // namespace

MemoryMeter::~MemoryMeter()
{
	if (status_ >= 0) close(status_);
}

// Neither shared memory nor mapped files, which are the system's to let go.
size_t MemoryMeter::resident() noexcept
{
	if (status_ < 0) status_ = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	char text[4096];
	const ssize_t length = status_ < 0 ? -1 : pread(status_, text, sizeof text, 0);
	if (length <= 0) return 0;
	const std::string_view status(text, static_cast<size_t>(length));
	return field(status, "\nRssAnon:") + field(status, "\nVmSwap:");
}

// 0 when malloc does not tell, as under valgrind.
size_t MemoryMeter::allocated() noexcept
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
	const struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
#else
	return 0;
#endif
}

size_t MemoryMeter::measure(size_t limit) noexcept
{
	resident_ = resident();
	exact_ = true;
	last_ = resident_;
	if (resident_ > 0 && (limit == 0 || resident_ < limit / 5 * 4)) return last_;
	const auto now = Clock::now();
	exact_ = now >= next_allocated_;
	if (exact_) {
		allocated_ = allocated();
		resident_then_ = resident_;
		const auto end = Clock::now();
		next_allocated_ = end + std::max<Clock::duration>(kShare * (end - now), kLeastPause);
	}
	if (allocated_ == 0) return last_;
	const size_t grown = resident_ > resident_then_ ? resident_ - resident_then_ : 0;
	last_ = resident_ > 0 ? std::min(resident_, allocated_ + grown) : allocated_;
	return last_;
}

bool MemoryMeter::give_back() noexcept
{
#ifdef __GLIBC__
	const auto now = Clock::now();
	if (now < next_trim_) return false;
	malloc_trim(0);
	const auto end = Clock::now();
	next_trim_ = end + std::max<Clock::duration>(kShare * (end - now), kTrimPause);
#endif
	return true;
}

}  // namespace plank::worker
