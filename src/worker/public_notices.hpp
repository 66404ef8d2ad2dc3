// Sends what `plank.track(notify => …)` asks for, with NOTIFY on public channels, after commit: writers never wait for it.
// Runs in the first worker of a database, outside network callbacks.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

namespace plank::worker {

class PublicNotices {
 public:
	// Keeps one to be sent; drops it when too many bytes wait already. `channel` and `payload` in UTF-8.
	void add(const std::string& channel, std::string&& payload);
	// Sends a bounded number in a unit of work of its own. `usage`: of the queue, in thousandths. Throws pg::Error.
	void send(int usage);
	// True when the last `send` left some that can go at once.
	bool has_more() const noexcept { return more_; }

	uint64_t sent() const noexcept { return sent_; }
	uint64_t skipped() const noexcept { return skipped_; }

 private:
	struct Notice {
		std::string channel, payload;
	};
	std::deque<Notice> waiting_;
	size_t bytes_ = 0;
	uint64_t sent_ = 0, skipped_ = 0;
	bool skipping_ = false;
	bool more_ = false;
};

}  // namespace plank::worker
