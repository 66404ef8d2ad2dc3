// Telling a worker's own crashes from others'. Runs in the postmaster at start and in the workers.
#include "worker/breaker.hpp"

#include <sys/mman.h>
#include <atomic>
#include <ctime>
#include <new>

#include "pg/process.hpp"
#include "pg/reader_link.hpp"
#include "pg/settings.hpp"
#include "pg/shared_state.hpp"

namespace plank::worker {

namespace {

constexpr int kRemembered = 64;
constexpr int64_t kWindow = 60;  // seconds

struct Page {
	std::atomic<int64_t> crashes[kRemembered];  // when, by the monotonic clock; a ring
	std::atomic<uint32_t> next;
	std::atomic<bool> running[pg::kMaxDatabases * pg::kMaxWorkersPerDatabase];
};
Page* page = nullptr;
int my_slot = -1;

int64_t now()
{
	timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

// The postmaster tells all to quit because somebody crashed; it was not this worker. A process that read a snapshot for
// it counts as the worker itself: the same request would crash the next one. Async-signal-safe.
void on_quit(SIGNAL_ARGS)
{
	if (!pg::a_reader_has_crashed()) breaker_orderly_end();
	SignalHandlerForCrashExit(postgres_signal_arg);
}

}  // namespace

void register_workers()
{
	void* memory = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) ereport(FATAL, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("plank: out of memory")));
	page = new (memory) Page{};

	const bool reads_wal = pg::Settings::transport == static_cast<int>(pg::TransportKind::wal);
	const int databases = pg::wanted_databases();
	for (int slot = 0; slot < databases * pg::Settings::workers; ++slot) {
		BackgroundWorker worker = {};
		worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
		// WAL can be read on a standby, NOTIFY does not exist there.
		worker.bgw_start_time = reads_wal ? BgWorkerStart_ConsistentState : BgWorkerStart_RecoveryFinished;
		worker.bgw_restart_time = 1;
		strlcpy(worker.bgw_library_name, "plank", BGW_MAXLEN);
		strlcpy(worker.bgw_function_name, "plank_worker_main", BGW_MAXLEN);
		snprintf(worker.bgw_name, BGW_MAXLEN, "plank worker %d for database %s", slot % pg::Settings::workers,
		         pg::wanted_database(slot / pg::Settings::workers));
		strlcpy(worker.bgw_type, "plank worker", BGW_MAXLEN);
		worker.bgw_main_arg = Int32GetDatum(slot);
		RegisterBackgroundWorker(&worker);
	}
}

bool breaker_allows(int slot)
{
	my_slot = slot;
	pqsignal(SIGQUIT, on_quit);
	if (page->running[slot].exchange(true)) page->crashes[page->next.fetch_add(1) % kRemembered].store(now());
	int recent = 0;
	for (const std::atomic<int64_t>& crash : page->crashes) {
		const int64_t time = crash.load();
		recent += time != 0 && now() - time < kWindow;
	}
	const int limit = pg::Settings::crash_limit;
	if (limit == 0 || recent < limit) return true;
	breaker_orderly_end();
	ereport(WARNING,
	        (errmsg("plank worker stays down after %d crashes within a minute", recent),
	         errhint("Find the cause in the server log, then restart the server. The limit is plank.crash_limit.")));
	return false;
}

void breaker_orderly_end() noexcept
{
	if (my_slot >= 0) page->running[my_slot].store(false);
}

}  // namespace plank::worker
