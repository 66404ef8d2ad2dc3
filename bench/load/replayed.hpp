// Writes to a primary, one row at a time, and watches on its standby when each row's commit has been replayed.
// Runs in a thread of its own in plank-watch; the times are read after join().
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <string>
#include <thread>
#include <vector>

namespace plank::bench {

class Replayed {
 public:
	// Rows 1 to `rows` with marks ^0:n^, 10 ms apart.
	Replayed(std::string primary, std::string standby, std::string table, unsigned rows);
	~Replayed();
	Replayed(const Replayed&) = delete;
	Replayed& operator=(const Replayed&) = delete;

	bool finished() const noexcept { return finished_.load(std::memory_order_acquire); }
	// Waits for the thread and throws its error.
	void join();

	// Both by row number. A replay is seen by asking again and again; told is the beginning of the question that was
	// answered with yes, so that what is measured from it is rather too long than too short.
	const std::vector<int64_t>& commit_sent_ns() const noexcept { return sent_; }
	const std::vector<int64_t>& replayed_ns() const noexcept { return replayed_; }

 private:
	void run();

	std::string primary_;
	std::string standby_;
	std::string table_;
	unsigned rows_;
	std::vector<int64_t> sent_;
	std::vector<int64_t> replayed_;
	std::exception_ptr error_;
	std::atomic<bool> finished_ = false;
	std::thread thread_;
};

}  // namespace plank::bench
