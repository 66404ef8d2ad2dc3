// The shared memory between a worker and one process that reads snapshots for it: a queue of requests one way, a queue of
// answers the other. Either end notices when the other goes; whoever gets something is woken by its latch.
// ReaderHandle is the worker's end, ReaderEnd the reading process's. Functions throw Error.
#pragma once

#include <memory>
#include <string_view>

#include "pg/postgres.hpp"

extern "C" {
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/shm_mq.h"
}

namespace plank::pg {

enum class Transfer { done, later, gone };

struct ReaderSegment;

class ReaderHandle {
 public:
	// Asks the postmaster for a reading process of this database. Null when max_worker_processes is exhausted.
	static std::unique_ptr<ReaderHandle> start();
	// The process ends, whatever it is doing.
	~ReaderHandle();
	ReaderHandle(const ReaderHandle&) = delete;
	ReaderHandle& operator=(const ReaderHandle&) = delete;

	// None waits. After `later`, `send` must be called again with the same bytes. A message is good until the next call.
	Transfer send(std::string_view bytes);
	Transfer receive(std::string_view& message);
	// The process gives up the n-th request that it has got, or will get; it answers as for any other.
	void cancel(uint32_t n) noexcept;
	// Whether the process has ever been ready.
	bool has_served() const noexcept;
	// Whether it has gone by end_stuck.
	bool was_stuck() const noexcept;
	int pid() const noexcept;  // 0 when there is none

 private:
	ReaderHandle() = default;

	dsm_segment* memory_ = nullptr;
	ReaderSegment* segment_ = nullptr;
	BackgroundWorkerHandle* process_ = nullptr;
	shm_mq_handle *requests_ = nullptr, *answers_ = nullptr;
};

// Whether a reading process of this process is gone without having said so: it has crashed. For the handler of the
// signal with which the postmaster ends all others then. Async-signal-safe.
bool a_reader_has_crashed() noexcept;

// One for a process, for as long as it lives. May ereport instead of throwing: call it inside pg::call.
class ReaderEnd {
 public:
	// False when the worker that asked for this process is gone already.
	bool attach(Datum argument);
	Oid database() const noexcept;
	void be_ready() noexcept;

	// Waits for the next request; false when the worker has gone or the server stops. Nothing may be open.
	bool receive(const char*& bytes, Size& length);
	// The number of the request that `receive` gave, from 1, and whether the worker has given it up.
	uint32_t number() const noexcept { return number_; }
	bool is_cancelled() const noexcept;
	// Ends this process at the next look for interrupts: its request does not end by being cancelled, and would not in
	// another process. Async-signal-safe.
	static void end_stuck() noexcept;
	// Waits until the answer has a place in the queue. An error in here leaves the answer half sent: what it consists of
	// must stay, and `finish` must be called before the next. False when the worker has gone.
	bool send(const char* bytes, Size length);
	// Brings what an error has interrupted to its end; cancelling is put off meanwhile.
	bool finish();

 private:
	bool wait_to_receive(const char*& bytes, Size& length);
	bool wait_to_send();

	ReaderSegment* segment_ = nullptr;
	shm_mq_handle *requests_ = nullptr, *answers_ = nullptr;
	const char* unsent_ = nullptr;
	Size unsent_length_ = 0;
	uint32_t number_ = 0;
};

}  // namespace plank::pg
