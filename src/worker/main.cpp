// Where a worker process begins and ends. Runs in the worker.
#include "worker/worker.hpp"

#include "worker/breaker.hpp"
#include "worker/main.hpp"

#include "pg/compat.hpp"
#include "pg/guard.hpp"
#include "pg/process.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

constexpr int64_t kLongestBackOff = 60;  // seconds

// What ALTER DATABASE … SET by the database's owner must not decide for a process that runs as superuser.
struct PinnedSetting {
	const char* name;
	const char* value;
};
constexpr PinnedSetting kPinned[] = {
    // A deferrable transaction waits for others to end.
    {"default_transaction_deferrable", "off"},
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_read_only", "off"},
    {"exit_on_error", "off"},
    // A turn is short whatever somebody has locked.
    {"lock_timeout", "200ms"},
    {"role", "none"},
    // What the worker commits are notifications for others; no client waits for them to be on disk.
    {"synchronous_commit", "off"},
    // It would print the secret channel.
    {"trace_notify", "off"},
};

// Whatever way the process goes, nobody must send for it any more.
void leave_slot(int, Datum argument)
{
	pg::WorkerSlot& slot = pg::shared_state()->worker[DatumGetInt32(argument)];
	slot.listening.store(false);
	slot.procno.store(-1);
	slot.pid.store(0);
	slot.port.store(0);
	slot.state.store(static_cast<int>(pg::WorkerState::down));
}

void note_orderly_end(int, Datum) { breaker_orderly_end(); }

// A database that is gone would have a worker fail every second: the more starts have failed in a row, the longer it waits.
void back_off(pg::WorkerSlot& slot)
{
	const uint32_t failures = slot.failures.fetch_add(1);
	int64_t seconds = failures == 0 ? 0 : int64_t{1} << std::min<uint32_t>(failures, 6);
	seconds = std::min(seconds, kLongestBackOff);
	const TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), seconds * 1000);
	while (!ShutdownRequestPending) {
		const long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		if (left <= 0) break;
		pg::call([&] {
			WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		});
	}
}

void serve(int number)
{
	pg::WorkerSlot& slot = pg::shared_state()->worker[number];
	pg::DatabaseSlot& database = pg::shared_state()->database[slot.database];
	slot.pid.store(MyProcPid);
	slot.started_at.store(GetCurrentTimestamp());
	slot.state.store(static_cast<int>(pg::WorkerState::starting));
	pg::call([&] { before_shmem_exit(leave_slot, Int32GetDatum(number)); });
	back_off(slot);
	if (ShutdownRequestPending) return;

	pg::call([&] { BackgroundWorkerInitializeConnection(database.name, nullptr, 0); });
	slot.failures.store(0);
	database.oid.store(MyDatabaseId, std::memory_order_release);
	slot.procno.store(MyProcNumber);
	pg::keep_errors_in(pg::turn_memory());
	pg::call([] {
		pgstat_report_appname("plank");
		for (const auto& [name, value] : kPinned)
			SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
		pg::forbid_transaction_timeout();
		// The database's own is kept, for what policies call.
		SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
		MemoryContextSwitchTo(pg::turn_memory());
	});
	Worker worker(number);
	worker.run();
}

}  // namespace

}  // namespace plank::worker

extern "C" void plank_worker_main(Datum argument)
{
	const int number = DatumGetInt32(argument);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	if (!plank::worker::breaker_allows(number)) proc_exit(0);
	on_proc_exit(plank::worker::note_orderly_end, static_cast<Datum>(0));
	BackgroundWorkerUnblockSignals();
	plank::pg::entry([&] { plank::worker::serve(number); });
	// Exit code 0 would unregister the worker; after 1 the postmaster brings it back, unless it is stopping itself.
	proc_exit(1);
}
