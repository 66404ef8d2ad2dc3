// Sets what the workers publish in shared memory, for states that a test cannot bring about: a notification queue of
// gigabytes. Runs in ordinary sessions of test databases.
#include "pg/shared_state.hpp"

extern "C" {
#include "storage/lwlock.h"
#include "storage/shmem.h"

PGDLLEXPORT Datum plank_test_set_queue_usage(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(plank_test_set_queue_usage);
}

Datum plank_test_set_queue_usage(PG_FUNCTION_ARGS)
{
	bool found = false;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	auto* const state =
	    static_cast<plank::pg::SharedState*>(ShmemInitStruct("plank", static_cast<Size>(PG_GETARG_INT64(1)), &found));
	LWLockRelease(AddinShmemInitLock);
	if (!found) elog(ERROR, "Plank has no shared memory here");
	state->queue_usage.store(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}
