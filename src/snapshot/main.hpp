// The entry point that the postmaster starts when a worker wants snapshots. Runs in the process that reads.
#pragma once

#include "pg/postgres.hpp"

extern "C" PGDLLEXPORT void plank_snapshot_main(Datum argument);
