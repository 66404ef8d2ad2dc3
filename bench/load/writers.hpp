// The writers: one libpq connection and, while a job runs, one thread each. They insert rows whose mark numbers each
// writer's transactions 1, 2, 3 … and note when the commit of each was sent, so that the swarm can tell its latency.
// Runs in plank-load's writer threads; only sent_at() and finished() are for the client thread.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "scan.hpp"

struct pg_conn;

namespace plank::bench {

struct WriterOptions {
	std::string conninfo;
	std::string table;  // has the columns mark text, note text
	unsigned writers = 1;
	unsigned note_size = 115;  // with it the row as JSON has 160 bytes
};

// What every writer does, once: exactly one of `inserts`, `seconds` and `rows` is set.
struct Job {
	uint32_t inserts = 0;  // this many transactions of one row ...
	double rate = 0;       // ... so many a second, all writers together (BEGIN, INSERT, COMMIT); 0: as fast as they can
	double seconds = 0;    // transactions of one row, as fast as they can, for so long
	uint32_t rows = 0;     // one transaction of so many rows, by the first writer alone
};

class Writers {
 public:
	explicit Writers(WriterOptions options);
	~Writers();
	Writers(const Writers&) = delete;
	Writers& operator=(const Writers&) = delete;

	void start(const Job& job);
	bool finished() const noexcept { return running_.load(std::memory_order_acquire) == 0; }
	// Waits for the threads and throws the first of their errors.
	void join();

	// When the commit that carries the mark was sent.
	int64_t sent_at(Mark mark) const noexcept;
	// The following are valid after join().
	uint64_t committed() const noexcept;
	std::vector<uint32_t> last() const;
	int64_t first_start_ns() const noexcept;  // first statement of the last job
	int64_t last_end_ns() const noexcept;     // last commit of the last job answered
	int64_t commit_sent_ns() const noexcept;  // of the last job's `rows`
	Histogram commit_times() const;           // of the last job, from COMMIT sent to its answer

 private:
	struct Writer;

	void run(Writer& writer, const Job& job);
	void insert(Writer& writer, bool with_begin);
	void insert_rows(Writer& writer, uint32_t rows);

	WriterOptions options_;
	std::vector<std::unique_ptr<Writer>> writers_;
	std::atomic<unsigned> running_ = 0;
};

}  // namespace plank::bench
