// What tests need to see of, and do to, open transactions. Runs in ordinary sessions of test databases.
#include "pg/guard.hpp"
#include "pg/settings.hpp"
#include "pg/shared_state.hpp"

extern "C" {
#include "access/xact.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/pg_lsn.h"

PGDLLEXPORT void _PG_init(void);
PGDLLEXPORT Datum plank_test_oldest_first_message(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum plank_test_fail_release(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_oldest_first_message);
PG_FUNCTION_INFO_V1(plank_test_fail_release);
}

using namespace plank;

namespace {

int failing_level = 0;

void on_subtransaction(SubXactEvent event, SubTransactionId, SubTransactionId, void*)
{
	if (failing_level == 0 || GetCurrentTransactionNestLevel() != failing_level) return;
	if (event != SUBXACT_EVENT_PRE_COMMIT_SUB) return;
	failing_level = 0;
	ereport(ERROR, (errcode(ERRCODE_RAISE_EXCEPTION), errmsg("the release fails")));
}

// This library has its own copy of the code that finds Plank's shared memory: it looks the way a new process of a server
// without fork() would.
void attach()
{
	static bool attached = false;
	if (attached) return;
	pg::Settings::databases = MemoryContextStrdup(TopMemoryContext, GetConfigOption("plank.databases", false, false));
	pg::Settings::workers = atoi(GetConfigOption("plank.workers", false, false));
	pg::request_shared_state();
	shmem_startup_hook();
	attached = true;
}

}  // namespace

extern "C" void _PG_init(void) { RegisterSubXactCallback(on_subtransaction, nullptr); }

Datum plank_test_oldest_first_message(PG_FUNCTION_ARGS)
{
	return pg::entry([&]() -> Datum {
		return pg::call([&]() -> Datum {
			attach();
			const uint64_t oldest = pg::oldest_first_message();
			if (oldest == 0) PG_RETURN_NULL();
			return LSNGetDatum(oldest);
		});
	});
}

Datum plank_test_fail_release(PG_FUNCTION_ARGS)
{
	failing_level = GetCurrentTransactionNestLevel();
	PG_RETURN_VOID();
}
