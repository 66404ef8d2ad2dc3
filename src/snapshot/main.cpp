// Where a process that reads snapshots begins and ends. It is asked for by a worker and serves that one alone.
#include "snapshot/server.hpp"

#include "pg/compat.hpp"
#include "pg/execution.hpp"
#include "pg/guard.hpp"
#include "pg/process.hpp"
#include "pg/unit_of_work.hpp"
#include "snapshot/client_guise.hpp"
#include "snapshot/main.hpp"

namespace plank::snapshot {

namespace {

struct PinnedSetting {
	const char* name;
	const char* value;
};

// What ALTER DATABASE … SET must not decide: how values and conditions are read and printed (protocol.md rule 8), and
// that a snapshot is one snapshot, which changes nothing.
constexpr PinnedSetting kPinned[] = {
    {"array_nulls", "on"},
    {"bytea_output", "hex"},
    {"DateStyle", "ISO, MDY"},
    {"default_transaction_deferrable", "off"},
    {"default_transaction_isolation", "repeatable read"},
    {"default_transaction_read_only", "on"},
    {"exit_on_error", "off"},
    {"extra_float_digits", "1"},
    {"idle_in_transaction_session_timeout", "0"},
    {"IntervalStyle", "postgres"},
    {"jit", "off"},  // what it takes to begin is longer than most snapshots
    {"lc_monetary", "C"},
    {"lock_timeout", "0"},
    {"quote_all_identifiers", "off"},
    {"role", "none"},
    {"row_security", "on"},
    {"standard_conforming_strings", "on"},
    {"statement_timeout", "0"},
    {"TimeZone", "UTC"},
    {"transform_null_equals", "off"},
};

void serve(Datum argument)
{
	pg::ReaderEnd worker;
	if (!pg::call([&] { return worker.attach(argument); })) return;
	pg::call([&] {
		BackgroundWorkerInitializeConnectionByOid(worker.database(), InvalidOid, 0);
		pgstat_report_appname("plank");
		for (const auto& [name, value] : kPinned)
			SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
		pg::forbid_transaction_timeout();
		// The database's own is kept, for what policies call.
		SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
		prepare_guises();
		pgstat_report_activity(STATE_IDLE, nullptr);
	});
	pg::keep_errors_in(pg::turn_memory());
	worker.be_ready();
	Server(worker).run();
}

}  // namespace

}  // namespace plank::snapshot

extern "C" void plank_snapshot_main(Datum argument)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, StatementCancelHandler);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	plank::pg::entry([&] { plank::snapshot::serve(argument); });
	// Whoever needs another asks for one.
	proc_exit(0);
}
