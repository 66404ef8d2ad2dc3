// Asking PostgreSQL which transactions run. Runs in the worker, outside network callbacks.
#include "pg/running.hpp"

#include "pg/guard.hpp"
#include "pg/process.hpp"

extern "C" {
#include "access/transam.h"
#include "storage/procarray.h"
#include "storage/standby.h"
}

namespace plank::pg {

bool in_progress(uint32_t xid)
{
	return call([&] { return TransactionIdIsInProgress(xid); });
}

void log_running()
{
	call([] { LogStandbySnapshot(); });
}

std::vector<uint32_t> prepared_before(int64_t time)
{
	std::vector<uint32_t> found;
	call([&] {
		SPI_connect();
		Oid types[] = {TIMESTAMPTZOID};
		Datum values[] = {TimestampTzGetDatum(time)};
		const int result = SPI_execute_with_args(
		    "SELECT p.transaction FROM pg_catalog.pg_prepared_xacts p "
		    "WHERE p.database OPERATOR(pg_catalog.=) pg_catalog.current_database() "
		    "AND p.prepared OPERATOR(pg_catalog.<) $1",
		    1, types, values, nullptr, true, 0);
		if (result != SPI_OK_SELECT)
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("plank could not read pg_prepared_xacts")));
	});
	for (uint64_t i = 0; i < SPI_processed; ++i) {
		found.push_back(call([&] {
			bool null = false;
			return DatumGetTransactionId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null));
		}));
	}
	call([] { SPI_finish(); });
	return found;
}

}  // namespace plank::pg
