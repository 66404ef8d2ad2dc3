// Both ends of the shared memory between a worker and a process that reads snapshots for it.
#include "pg/reader_link.hpp"

#include <signal.h>
#include <atomic>
#include <cerrno>
#include <new>

#include "pg/guard.hpp"
#include "pg/process.hpp"

namespace plank::pg {

// Lives in dynamic shared memory, in front of the two queues.
struct ReaderSegment {
	uint64_t magic;
	Oid database;
	std::atomic<int> pid;             // of the reading process, while it is attached
	std::atomic<bool> served;         // it has connected to the database
	std::atomic<uint32_t> cancelled;  // number of the request last given up
	std::atomic<bool> stuck;          // the process ends because a request will not
};

namespace {

constexpr uint64_t kMagic = 0x706c616e6b736e61;  // "planksna"
constexpr Size kRequestsSize = 16 * 1024;
// Four answers of the usual size: the reader fills the second half while the worker empties the first.
constexpr Size kAnswersSize = 256 * 1024;
constexpr Size kRequestsAt = MAXALIGN(sizeof(ReaderSegment));
constexpr Size kAnswersAt = kRequestsAt + kRequestsSize;
constexpr Size kSegmentSize = kAnswersAt + kAnswersSize;

// Of the processes that this one has asked for; those beyond are not looked at.
constexpr int kMostWatched = 256;
std::atomic<ReaderSegment*> watched[kMostWatched];

void watch(ReaderSegment* segment)
{
	for (std::atomic<ReaderSegment*>& place : watched) {
		if (place.load()) continue;
		place.store(segment);
		return;
	}
}

void watch_no_more(const ReaderSegment* segment)
{
	for (std::atomic<ReaderSegment*>& place : watched)
		if (place.load() == segment) place.store(nullptr);
}

// The reading process's own, for its signal handler.
ReaderSegment* my_segment = nullptr;

// The postmaster tells all to quit because somebody crashed; it was not this process. Async-signal-safe.
void on_quit(SIGNAL_ARGS)
{
	if (my_segment) my_segment->pid.store(0);
	SignalHandlerForCrashExit(postgres_signal_arg);
}

char* place(ReaderSegment* segment, Size offset) { return reinterpret_cast<char*>(segment) + offset; }

// However the worker's end goes, the process has nobody to read for. Should it not have begun, it finds no memory.
void end_process(dsm_segment*, Datum argument)
{
	const auto* const segment = reinterpret_cast<ReaderSegment*>(DatumGetPointer(argument));
	watch_no_more(segment);
	if (const int pid = segment->pid.load()) kill(pid, SIGTERM);
}

void forget_process(dsm_segment*, Datum argument)
{
	my_segment = nullptr;
	reinterpret_cast<ReaderSegment*>(DatumGetPointer(argument))->pid.store(0);
}

bool register_process(dsm_segment* memory, BackgroundWorkerHandle** handle)
{
	BackgroundWorker worker = {};
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;  // on hot standbys too
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "plank", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "plank_snapshot_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "plank snapshot", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "plank snapshot", BGW_MAXLEN);
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(memory));
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

Transfer outcome(shm_mq_result result)
{
	switch (result) {
		case SHM_MQ_SUCCESS:
			return Transfer::done;
		case SHM_MQ_WOULD_BLOCK:
			return Transfer::later;
		default:
			return Transfer::gone;
	}
}

}  // namespace

std::unique_ptr<ReaderHandle> ReaderHandle::start()
{
	std::unique_ptr<ReaderHandle> reader(new ReaderHandle);
	ReaderHandle& to = *reader;
	// Inside a transaction too, all of it must outlive that.
	const MemoryContext caller = CurrentMemoryContext;
	const bool registered = call([&] {
		MemoryContextSwitchTo(TopMemoryContext);
		to.memory_ = dsm_create(kSegmentSize, 0);
		dsm_pin_mapping(to.memory_);
		auto* const segment = new (dsm_segment_address(to.memory_)) ReaderSegment{};
		segment->magic = kMagic;
		segment->database = MyDatabaseId;
		to.segment_ = segment;
		// First, so that it is called last: the process then finds its queues left by us.
		on_dsm_detach(to.memory_, end_process, PointerGetDatum(segment));
		watch(segment);
		shm_mq* const requests = shm_mq_create(place(segment, kRequestsAt), kRequestsSize);
		shm_mq* const answers = shm_mq_create(place(segment, kAnswersAt), kAnswersSize);
		shm_mq_set_sender(requests, MyProc);
		shm_mq_set_receiver(answers, MyProc);
		if (!register_process(to.memory_, &to.process_)) return false;
		to.requests_ = shm_mq_attach(requests, to.memory_, to.process_);
		to.answers_ = shm_mq_attach(answers, to.memory_, to.process_);
		return true;
	});
	MemoryContextSwitchTo(caller);
	if (!registered) return nullptr;
	return reader;
}

ReaderHandle::~ReaderHandle()
{
	try {
		call([&] {
			if (requests_) shm_mq_detach(requests_);
			if (answers_) shm_mq_detach(answers_);
			if (memory_) dsm_detach(memory_);
			if (process_) pfree(process_);
		});
	} catch (Error& error) {
		error.release();
	}
}

Transfer ReaderHandle::send(std::string_view bytes)
{
	return call([&] { return outcome(shm_mq_send(requests_, bytes.size(), bytes.data(), true, true)); });
}

Transfer ReaderHandle::receive(std::string_view& message)
{
	return call([&] {
		Size length = 0;
		void* data = nullptr;
		const Transfer result = outcome(shm_mq_receive(answers_, &length, &data, true));
		if (result == Transfer::done) message = {static_cast<const char*>(data), length};
		return result;
	});
}

void ReaderHandle::cancel(uint32_t n) noexcept
{
	segment_->cancelled.store(n);
	if (const int to = pid()) kill(to, SIGINT);
}

bool ReaderHandle::has_served() const noexcept { return segment_->served.load(); }

bool ReaderHandle::was_stuck() const noexcept { return segment_->stuck.load(); }

int ReaderHandle::pid() const noexcept { return segment_->pid.load(); }

bool a_reader_has_crashed() noexcept
{
	for (const std::atomic<ReaderSegment*>& place : watched) {
		const ReaderSegment* const segment = place.load();
		const int pid = segment ? segment->pid.load() : 0;
		if (pid && kill(pid, 0) != 0 && errno == ESRCH) return true;
	}
	return false;
}

bool ReaderEnd::attach(Datum argument)
{
	dsm_segment* const memory = dsm_attach(DatumGetUInt32(argument));
	if (!memory) return false;
	segment_ = static_cast<ReaderSegment*>(dsm_segment_address(memory));
	if (segment_->magic != kMagic)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("plank snapshot got memory that is not Plank's")));
	on_dsm_detach(memory, forget_process, PointerGetDatum(segment_));
	my_segment = segment_;
	pqsignal(SIGQUIT, on_quit);
	segment_->pid.store(MyProcPid);
	auto* const requests = reinterpret_cast<shm_mq*>(place(segment_, kRequestsAt));
	auto* const answers = reinterpret_cast<shm_mq*>(place(segment_, kAnswersAt));
	shm_mq_set_receiver(requests, MyProc);
	shm_mq_set_sender(answers, MyProc);
	requests_ = shm_mq_attach(requests, memory, nullptr);
	answers_ = shm_mq_attach(answers, memory, nullptr);
	return true;
}

Oid ReaderEnd::database() const noexcept { return segment_->database; }

void ReaderEnd::be_ready() noexcept { segment_->served.store(true); }

bool ReaderEnd::receive(const char*& bytes, Size& length)
{
	// A cancel may come when there is nothing more to cancel.
	HOLD_CANCEL_INTERRUPTS();
	const bool received = wait_to_receive(bytes, length);
	QueryCancelPending = false;
	RESUME_CANCEL_INTERRUPTS();
	return received;
}

bool ReaderEnd::wait_to_receive(const char*& bytes, Size& length)
{
	while (true) {
		// Looked at first, for the check below would end the process with a line in the log.
		if (ProcDiePending) return false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending) {
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		void* data = nullptr;
		switch (shm_mq_receive(requests_, &length, &data, true)) {
			case SHM_MQ_SUCCESS:
				bytes = static_cast<const char*>(data);
				++number_;
				return true;
			case SHM_MQ_DETACHED:
				return false;
			default:
				break;
		}
		WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

void ReaderEnd::end_stuck() noexcept
{
	my_segment->stuck.store(true);
	InterruptPending = true;
	ProcDiePending = true;
}

bool ReaderEnd::is_cancelled() const noexcept { return segment_->cancelled.load() == number_; }

bool ReaderEnd::send(const char* bytes, Size length)
{
	unsent_ = bytes;
	unsent_length_ = length;
	return wait_to_send();
}

// The queue wants the rest of a message that it has begun to take.
bool ReaderEnd::finish()
{
	if (!unsent_) return true;
	HOLD_CANCEL_INTERRUPTS();
	const bool sent = wait_to_send();
	RESUME_CANCEL_INTERRUPTS();
	return sent;
}

bool ReaderEnd::wait_to_send()
{
	while (true) {
		CHECK_FOR_INTERRUPTS();
		switch (shm_mq_send(answers_, unsent_length_, unsent_, true, true)) {
			case SHM_MQ_SUCCESS:
				unsent_ = nullptr;
				return true;
			case SHM_MQ_DETACHED:
				unsent_ = nullptr;
				return false;
			default:
				break;
		}
		WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

}  // namespace plank::pg
