// Which transactions run, as far as a reader of WAL must know. Runs in the worker, outside network callbacks. Everything
// may throw pg::Error.
#pragma once

#include <cstdint>
#include <vector>

#include "pg/postgres.hpp"

namespace plank::pg {

// True as long as a new snapshot would not show what `xid` has done. Its commit record can be on disk long before: for as
// long as a synchronous standby does not answer. Needs no transaction.
bool in_progress(uint32_t xid);

// Has a list of the running transactions written to WAL. On a primary.
void log_running();

// The prepared transactions of this database that were prepared before `time` (TimestampTz). In a unit of work.
std::vector<uint32_t> prepared_before(int64_t time);

}  // namespace plank::pg
