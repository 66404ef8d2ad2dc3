// Transactions of the worker. Runs in the worker, outside network callbacks.
#include "pg/unit_of_work.hpp"

#include <cstring>

extern "C" {
#include "access/xact.h"
#include "pgstat.h"
#include "utils/backend_status.h"
#include "utils/snapmgr.h"
}

namespace plank::pg {

namespace {
bool open = false;
}

MemoryContext turn_memory() noexcept
{
	static MemoryContext memory = nullptr;
	if (!memory) memory = AllocSetContextCreate(TopMemoryContext, "plank turn", ALLOCSET_DEFAULT_SIZES);
	return memory;
}

void begin_unit(const char* activity)
{
	call([&] {
		pgstat_report_activity(STATE_RUNNING, activity);
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
	});
	open = true;
}

void commit_unit()
{
	call([] {
		PopActiveSnapshot();
		CommitTransactionCommand();
		MemoryContextSwitchTo(turn_memory());
		pgstat_report_stat(false);
		pgstat_report_activity(STATE_IDLE, nullptr);
	});
	open = false;
}

void abort_unit() noexcept
{
	open = false;
	try {
		call([] {
			AbortOutOfAnyTransaction();
			MemoryContextSwitchTo(turn_memory());
			pgstat_report_activity(STATE_IDLE, nullptr);
		});
	} catch (Error& error) {
		error.release();
		MemoryContextSwitchTo(turn_memory());
	}
}

bool in_unit() noexcept { return open; }

void log_line(int level, const char* message, const char* detail, const char* hint) noexcept
{
	try {
		call([&] {
			ereport(level, (errmsg("plank: %s", message), detail && *detail ? errdetail("%s", detail) : 0,
			                hint && *hint ? errhint("%s", hint) : 0));
		});
	} catch (Error& error) {
		error.release();
	}
}

void check_interrupts()
{
	try {
		call([] { CHECK_FOR_INTERRUPTS(); });
	} catch (Error& error) {
		if (error.sqlstate() != ERRCODE_QUERY_CANCELED && !is_recovery_conflict(error)) throw;
		error.release();
	}
}

// What a function raises has the same SQLSTATE, but not the place: ProcessInterrupts, or what it calls since PostgreSQL 16.
bool is_recovery_conflict(const Error& error) noexcept
{
	const char* const place = error.data()->funcname;
	return error.sqlstate() == ERRCODE_T_R_SERIALIZATION_FAILURE && place && strstr(place, "Interrupt");
}

}  // namespace plank::pg
